// Signals over server-sent events, read with fetch so that a token can travel in a header.

import { DoorbellError, asError, badAnswer, silent } from './errors.js'
import { namesOf, takeFrame, whyClosed, type Line, type Open } from './line.js'
import { createAlarm, createBackoff } from './pace.js'

/** Twice the server's comment interval, and some more: whoever is silent for so long is not there. In ms. */
const silentFor = 60_000
/** How long the first event may take: a proxy that buffers holds it back. In ms. */
const firstWithin = 5_000
/** Proxies take URLs up to 8 KiB. */
const longestURL = 7_000

export const openSSE: Open = (http, sink, events) => {
  let stream = new AbortController()
  let following = ''
  const silence = createAlarm()
  const retry = createAlarm()
  const backoff = createBackoff()

  const alive = (limit: number) => silence(() => events.down(silent()), limit)
  const renew = () => void http.token().then((t) => http.token(t)).then(line.check, () => 0)
  const again = () => retry(line.check, 1_000 + backoff.next())

  const read = async (names: string, signal: AbortSignal) => {
    if (names.length > longestURL) throw new DoorbellError('too_long', 'too many feeds')
    const { headers, body } = await http.fetch('/v1/signals?feed=' + names, { headers: { Accept: 'text/event-stream' }, cache: 'no-store', signal })
    if (!/^text\/event-stream/.test(headers.get('Content-Type') ?? '') || !body) throw badAnswer('event stream')
    const reader = body.pipeThrough(new TextDecoderStream()).getReader()
    for (let rest = ''; ; ) {
      const { done, value } = await reader.read()
      if (signal.aborted) return
      if (done) throw whyClosed(1006)
      alive(silentFor)
      const blocks = (rest + value).replace(/\r/g, '').split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) {
        // The data says by itself what it is.
        const data = [...block.matchAll(/^data:(.*)/gm)].map(([, text]) => text).join('\n')
        if (data) takeFrame(JSON.parse(data), sink, events, renew, again)
      }
    }
  }

  const line: Line = {
    update() {
      const names = namesOf(sink.cursors())
      if (names === following) return
      following = names
      stream.abort()
      const { signal } = (stream = new AbortController())
      alive(firstWithin)
      read(names, signal).catch((e) => signal.aborted || events.down(asError(e)))
    },
    check() {
      // A stream can't be asked, so it is begun again.
      following = ''
      line.update()
    },
    close() {
      line.update = () => {}
      silence()
      retry()
      stream.abort()
    },
  }
  line.update()
  return line
}
