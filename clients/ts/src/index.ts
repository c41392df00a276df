/**
 * Doorbell rings, the browser fetches. Four transports behind one cursor (WebSocket, SSE, long poll, polling), one connection
 * per browser, and items that are always on their way to being the newest.
 *
 * @packageDocumentation
 */
import { connect, type Doorbell as Core } from './doorbell.js'
import type { Feed } from './feed.js'
import { iterable, type Sequence } from './iterate.js'
import { onSignal } from './signal.js'
import type { Abortable, DoorbellOptions, Signal } from './types.js'
import { writable, type Writes } from './writable.js'

/** A feed: shown, kept fresh, and written. */
export interface WritableFeed<T = unknown> extends Feed<T>, Sequence, Writes<T> {}

/** One Doorbell server, as this page sees it. */
export interface Doorbell extends Core<WritableFeed<any>> {
  /** The feed of that name; the same one each time. T is what its values are, and is not checked. Throws a TypeError for what can't be a name. */
  feed<T = any>(name: string): WritableFeed<T>
  /**
   * For data that lives behind an API of your own: calls back when the feed moves, after the delay that the server asks for so that
   * not everybody fetches at once. The first call comes when the signals begin. Ends with the function that is given back, or
   * with the signal.
   */
  onSignal(feed: string, listener: (s: Signal) => void, options?: Abortable): () => void
}

/**
 * Connects a page to a Doorbell server. Nothing is sent before something is followed.
 *
 * ```ts
 * const db = createDoorbell({ url: 'https://app.example.com' })
 * const cart = db.feed<{ n: number }>('cart:7')
 * cart.subscribe(() => console.log([...cart.items]))
 * ```
 */
export function createDoorbell(options: DoorbellOptions): Doorbell {
  const db = connect(options, (feed) => iterable(writable(feed)))
  return Object.assign(db, { onSignal: onSignal.bind(undefined, db) })
}

export { DoorbellError } from './errors.js'
export type { Feed } from './feed.js'
export type { Sequence } from './iterate.js'
export type { Writes } from './writable.js'
export type { Link, Transport } from './ladder.js'
export type { GetToken } from './http.js'
export type { Abortable, DoorbellOptions, FeedChange, FeedStatus, Persistence, Signal, Write } from './types.js'
