// What applications see.

import type { DoorbellError } from './errors.js'
import type { Feed } from './feed.js'
import type { GetToken } from './http.js'
import type { Transport } from './ladder.js'

/** Options of {@link createDoorbell}. */
export interface DoorbellOptions {
  /** Where Doorbell is: an origin, with a path before `/v1/` if there is one. '' for the page's own origin. */
  url: string
  /** Gives a token when one is needed: at the beginning, and when the last one, which it is called with, ends soon or was refused. */
  getToken?: GetToken
  /** Cookies of requests for private feeds and of writes. Public reads never carry any. Default: `same-origin` */
  credentials?: RequestCredentials
  /** Namespaces to read bare from the first request on. Others are found out from the first answer. */
  publicNamespaces?: readonly string[]
  /**
   * Tabs of one origin share a connection if they have the same name here; false: this one is on its own. Name it after
   * the user where one browser may hold several. Default: the URL
   */
  tabs?: string | false
  /** Keeps feeds across reloads: `indexedDBPersistence()` of `@doorbell/client/persist`. */
  persistence?: Persistence
  /** The transports to try, best first. Polling is always the last. Default: all of them */
  transports?: readonly ('websocket' | 'sse' | 'long-poll')[]
}

/** Keeps a feed between visits: brings back what was kept, and from then on keeps what changes. Ends when the first is done. */
export type Persistence = (feed: Feed<any>) => Promise<unknown>

/**
 * How a feed is doing.
 *
 * | state | meaning |
 * | --- | --- |
 * | `idle` | nobody follows it |
 * | `catching-up` | something newer is known of and being read, or nothing was read yet |
 * | `live` | news arrive by themselves, and all is here |
 * | `polling` | it is asked from time to time |
 * | `offline` | the server can't be reached; it is tried again by itself |
 * | `denied` | this client may not read it |
 */
export interface FeedStatus {
  state: 'idle' | 'catching-up' | 'live' | 'polling' | 'offline' | 'denied'
  transport: Transport
  /** Since when the items may not be the newest, in ms since 1970; 0: they are. */
  staleSince: number
  /** What is being got over by itself. */
  error: DoorbellError | undefined
}

/** One step of a feed. */
export interface FeedChange {
  /** The keys whose items were put or deleted; look them up in `items`. */
  keys: ReadonlySet<string>
  /** Where the feed is now. '': there is no such feed. */
  cursor: string
  /** The feed began anew: it was dropped, or restored from a backup. */
  reset: boolean
}

/** One change of a write. */
export type Write<T> =
  | { key: string; value: T; if?: string }
  | { key: string; deleted: true; if?: string }

/** A call that can be given up. */
export interface Abortable {
  signal?: AbortSignal | undefined
}

/** What {@link Doorbell.onSignal} tells. */
export interface Signal {
  feed: string
  /** Where the feed is. '': there is no such feed. */
  cursor: string
  /** The first one: whatever was read before now may be old. */
  first: boolean
}
