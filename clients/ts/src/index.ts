/**
 * Doorbell rings, the browser fetches. Four transports behind one cursor (WebSocket, SSE, long poll, polling), one connection
 * per browser, and items that are always on their way to being the newest.
 *
 * @packageDocumentation
 */
import { Doorbell as AnyDoorbell } from './doorbell.js'
import type { DoorbellOptions } from './types.js'
import { WritableFeed } from './writable.js'

/** One Doorbell server, as this page sees it. */
export class Doorbell extends AnyDoorbell<WritableFeed> {
  /** The feed of that name; the same one each time. T is what its values are, and is not checked. Throws a TypeError for what can't be a name. */
  override feed<T = any>(name: string): WritableFeed<T> {
    return super.feed(name) as WritableFeed<T>
  }
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
  return new Doorbell(options, (name, host) => new WritableFeed(name, host))
}

export { Feed } from './feed.js'
export { WritableFeed } from './writable.js'
export { DoorbellError } from './errors.js'
export type { Link, Transport } from './ladder.js'
export type { GetToken } from './http.js'
export type { Abortable, DoorbellOptions, FeedChange, FeedStatus, Persistence, Signal, Write } from './types.js'
