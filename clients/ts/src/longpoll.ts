// Pages by long poll: one request for all feeds, which the server holds while there is nothing new.

import { DoorbellError, asError } from './errors.js'
import { problem } from './http.js'
import type { Open } from './line.js'
import { parsePage } from './page.js'

/** How long the server is to hold a request, in s. Most proxies allow 30. */
const hold = 20
/** In ms: a server that answers at once, again and again, with nothing does not hold. */
const rest = 1_000

export const openLongPoll: Open = (http, sink, events) => {
  let closed = false
  let request: AbortController | undefined
  let asked = ''
  let wake: (() => void) | undefined
  const sleep = (ms: number) => new Promise<void>((resolve) => {
    wake = resolve
    if (ms) setTimeout(resolve, ms)
  })

  const run = async () => {
    for (let first = true; !closed; ) {
      const feeds = sink.cursors(true)
      asked = names(feeds)
      if (!asked) {
        await sleep(0)
        continue
      }
      const began = Date.now()
      const mine = (request = new AbortController())
      let moved: Record<string, Record<string, unknown>>
      try {
        // The first one isn't held: it tells whether there is such a thing.
        const body = first ? { feeds } : { feeds, wait: hold + 's' }
        const answer = await http.post('/v1/poll', body, mine.signal, undefined, hold * 1000 + 10_000)
        moved = (answer.body as { feeds?: typeof moved }).feeds ?? bad()
      } catch (e) {
        if (mine.signal.aborted) continue
        throw e
      }
      if (closed) return
      if (first) events.up()
      for (const [feed, page] of Object.entries(moved)) {
        if (page['code']) sink.problem(feed, problem(page))
        else sink.page(feed, parsePage(page))
      }
      if (!first && Date.now() - began < rest / 2 && !Object.values(moved).some((p) => !p['code'])) await sleep(rest)
      first = false
    }
  }

  const line = {
    update() {
      if (names(sink.cursors(true)) !== asked) line.check()
    },
    check() {
      wake?.()
      request?.abort()
    },
    close() {
      closed = true
      line.check()
    },
  }
  run().catch((e) => {
    if (!closed) {
      line.close()
      events.down(asError(e))
    }
  })
  return line
}

const names = (feeds: object) => Object.keys(feeds).sort().join()

function bad(): never {
  throw new DoorbellError('bad_answer', 'the answer is not that of a poll')
}
