/**
 * Signals alone, for data that lives behind an API of your own.
 *
 * @packageDocumentation
 */
import type { Read } from './answer.js'
import { epochOf, newer, type Cursor } from './cursor.js'
import type { Doorbell } from './doorbell.js'
import { DoorbellError } from './errors.js'
import type { FeedHost } from './feed.js'
import { listen, tell } from './listen.js'
import { createPuller, type Follower } from './puller.js'
import { createReplica } from './replica.js'
import type { Abortable, Signal } from './types.js'

/** How long a feed stays subscribed of which nobody wants signals any more, in ms: components come and go. */
const linger = 1_000

/**
 * For data that lives behind an API of your own: calls back when the feed moves, after the delay that the server asks for so that
 * not everybody fetches at once. The first call comes when the signals begin. Ends with the function that is given back, or
 * with the signal.
 */
export function onSignal(doorbell: Doorbell<any>, feed: string, listener: (s: Signal) => void, { signal }: Abortable = {}): () => void {
  let told: Cursor | undefined
  const tell = (cursor: Cursor | undefined) => {
    if (cursor === undefined || cursor === told) return
    const first = told === undefined
    told = cursor
    listener({ feed, cursor, first })
  }
  const signals = doorbell.bare(feed, (host) => createSignals(feed, host))
  const stop = signals.follow(tell, signal)
  if (!signal?.aborted) tell(signals.cursor)
  return stop
}

interface Signals extends Follower {
  /** Where the feed is; undefined as long as nobody said. */
  readonly cursor: Cursor | undefined
  follow(listener: (cursor: Cursor | undefined) => void, signal?: AbortSignal): () => void
}

/** A puller that takes what is signalled for what was read, and asks for heads where none are signalled. */
function createSignals(feed: string, host: FeedHost): Signals {
  const listeners = new Set<(cursor: Cursor | undefined) => void>()
  const replica = createReplica()
  let heard = false
  let newest: Cursor = ''

  const read: Read = async (since, atLeast, signal) => {
    let cursor = atLeast ? newest : since
    if (!atLeast && puller.polls()) {
      const { body } = await host.http.read(feed, '/v1/heads?feed=' + feed, signal)
      const head = body.heads?.[feed]
      heard ||= head != null
      cursor = head ?? since
    }
    if (!cursor) throw new DoorbellError('no_feed', feed, 404)
    if (since && epochOf(cursor) !== epochOf(since)) throw new DoorbellError('reset', feed, 410, 0, '?at_least=' + cursor)
    return { page: { since, cursor, more: false, trimmed: 0, changes: [] }, pollAfter: 0 }
  }
  const moved = () => {
    if (heard) tell(listeners, signals.cursor)
  }
  const puller = createPuller({ replica, read, applied: moved, changed: moved })

  const signals: Signals = {
    get active() {
      return puller.active
    },
    get cursor() {
      return heard && !puller.behind() ? replica.have : undefined
    },
    follow(listener, signal) {
      const stop = listen(listeners, listener, { signal }, () => {
        setTimeout(() => {
          if (listeners.size) return
          puller.stop()
          host.moved()
        }, linger)
      })
      if (!listeners.size) return stop
      puller.start()
      host.moved()
      return stop
    },
    stop: puller.stop,
    // A long poll brings no heads, and no other tab asks for them.
    link: (to) => puller.link(to.transport === 'long-poll' ? { ...to, transport: 'polling' } : to, false),
    wake() {
      if (puller.polls()) puller.wake()
    },
    deny: puller.deny,
    head(to, spread, first) {
      if (to !== null) {
        heard = true
        if (first || newer(to, newest)) newest = to
      }
      puller.head(to, spread, first)
      moved()
    },
  }
  return signals
}
