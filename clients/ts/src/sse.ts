// Signals over server-sent events, read with fetch so that a token can travel in a header.

import { DoorbellError, asError, badAnswer, silent } from './errors.js'
import { namesOf, takeFrame, whyClosed, type Line, type Open } from './line.js'
import { createAlarm, createBackoff } from './pace.js'

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  /** Twice the server's comment interval, and some more: whoever is silent for so long is not there. In ms. */
  silentFor = 60_000,
  /** How long the first event may take: a proxy that buffers holds it back. In ms. */
  firstWithin = 5_000,
  /** Proxies take URLs up to 8 KiB. */
  longestURL = 7_000,
}

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
    if (names.length > Bound.longestURL) throw new DoorbellError('too_long', 'too many feeds')
    const { headers, body } = await http.fetch('/v1/signals?feed=' + names, { headers: { Accept: 'text/event-stream' }, signal })
    if (!/^text\/event-stream/.test(headers.get('Content-Type')!) || !body) throw badAnswer('stream')
    const reader = body.pipeThrough(new TextDecoderStream()).getReader()
    for (let rest = ''; ; ) {
      const { done, value } = await reader.read()
      if (signal.aborted) return
      if (done) throw whyClosed(1006)
      alive(Bound.silentFor)
      const blocks = (rest + value).replace(/\r/g, '').split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) {
        // The data, one line of JSON, says by itself what it is.
        const data = /^data:(.*)/m.exec(block)
        if (data) takeFrame(JSON.parse(data[1]!), sink, events, renew, again)
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
      alive(Bound.firstWithin)
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
