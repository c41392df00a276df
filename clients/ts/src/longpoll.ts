// Pages by long poll: one request for all feeds, which the server holds while there is nothing new.

import { asError, badAnswer } from './errors.js'
import { problem } from './http.js'
import { namesOf, type Line, type Open } from './line.js'
import { now } from './pace.js'
import { parsePage } from './page.js'

/** How long the server is to hold a request, in s. Most proxies allow 30. */
const hold = 20
/** In ms: a server that answers at once, again and again, with nothing does not hold. */
const rest = 1_000
/** The server takes so many feeds in one request. Of more, some after the others are asked, each for a part of the time. */
const feedsPerRequest = 1_000

export const openLongPoll: Open = (http, sink, events) => {
  let closed = false
  let request: AbortController | undefined
  let asked = ''
  let wake: (() => void) | undefined
  const sleep = (ms?: number) => new Promise<void>((resolve) => {
    wake = resolve
    if (ms) setTimeout(resolve, ms)
  })

  const run = async () => {
    let first = true
    for (let done = 0; !closed; ) {
      const cursors = sink.cursors(true)
      const all = Object.entries(cursors)
      asked = namesOf(cursors)
      if (!asked) {
        await sleep()
        continue
      }
      if (done >= all.length) done = 0
      const some = all.slice(done, done + feedsPerRequest)
      const began = now()
      const { signal } = (request = new AbortController())
      let moved: [string, any][]
      try {
        // The first one isn't held: it tells whether there is such a thing.
        const wait = Math.ceil((hold * some.length) / all.length) + 's'
        const { body } = await http.post('/v1/poll', { feeds: Object.fromEntries(some), ...(!first && { wait }) }, signal)
        if (!body.feeds) throw badAnswer('poll')
        moved = Object.entries(body.feeds)
      } catch (e) {
        if (signal.aborted) continue
        throw e
      }
      if (closed) return
      done += feedsPerRequest
      if (first) events.up()
      for (const [feed, page] of moved) {
        if (page.code) sink.problem(feed, problem(page))
        else sink.news({ k: 'page', feed, page: parsePage(page) })
      }
      if (!first && now() - began < rest / 2 && moved.every(([, page]) => page.code)) await sleep(rest)
      first = false
    }
  }

  const line: Line = {
    update() {
      if (namesOf(sink.cursors(true)) !== asked) line.check()
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
  run().catch((e) => closed || events.down(asError(e)))
  return line
}
