// Signals over server-sent events, read with fetch so that a token can travel in a header.

import { DoorbellError, asError } from './errors.js'
import { problemOf } from './http.js'
import { takeFrame, type Open } from './line.js'

/** Twice the server's comment interval, and some more: whoever is silent for so long is not there. In ms. */
const silentFor = 60_000
/** How long the first event may take: a proxy that buffers holds it back. In ms. */
const firstWithin = 5_000
/** Proxies take URLs up to 8 KiB. */
const longestURL = 7_000

export const openSSE: Open = (http, sink, events) => {
  let stream = new AbortController()
  let silence: ReturnType<typeof setTimeout>
  let closed = false
  let following = ''

  const end = (e: DoorbellError) => {
    if (closed) return
    line.close()
    events.down(e)
  }
  const alive = (limit: number) => {
    clearTimeout(silence)
    silence = setTimeout(() => end(new DoorbellError('silent', 'the stream brings nothing')), limit)
  }

  const read = async (query: string, { signal }: AbortController) => {
    const response = await http.fetch('/v1/signals?' + query, { headers: { Accept: 'text/event-stream' }, cache: 'no-store', signal })
    if (!response.ok) throw await problemOf(response)
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream') || !response.body) {
      throw new DoorbellError('bad_answer', 'the answer is not an event stream')
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (let rest = ''; ; ) {
      const { done, value } = await reader.read()
      if (signal.aborted) return
      if (done) throw new DoorbellError('closed', 'the stream ended')
      alive(silentFor)
      const events = (rest + value).replace(/\r/g, '').split('\n\n')
      rest = events.pop()!
      for (const event of events) take(event)
    }
  }
  const take = (event: string) => {
    // The data says by itself what it is.
    const data = event.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5)).join('\n')
    if (!data) return
    const json = JSON.parse(data)
    takeFrame(json, sink, { ...events, down: end }, () => void http.token().then((t) => http.token(t)).then(line.check, () => 0))
  }

  const line = {
    update() {
      const query = Object.keys(sink.cursors()).sort().map((feed) => 'feed=' + feed).join('&')
      if (closed || query === following) return
      following = query
      stream.abort()
      const mine = (stream = new AbortController())
      alive(firstWithin)
      if (query.length > longestURL) return queueMicrotask(() => end(new DoorbellError('too_long', 'too many feeds for one URL')))
      read(query, mine).catch((e) => mine.signal.aborted || end(asError(e)))
    },
    check() {
      // A stream can't be asked, so it is begun again.
      following = ''
      line.update()
    },
    close() {
      closed = true
      clearTimeout(silence)
      stream.abort()
    },
  }
  line.update()
  return line
}
