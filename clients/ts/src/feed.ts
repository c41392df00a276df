import { pageReader, type Read } from './answer.js'
import { walks } from './cursor.js'
import type { Http } from './http.js'
import { listen, tell } from './listen.js'
import { unref } from './pace.js'
import type { Page } from './page.js'
import { createPuller, type Puller } from './puller.js'
import { createReplica, type Replica } from './replica.js'
import type { Abortable, FeedChange, FeedStatus, Persistence } from './types.js'

/** What a feed needs of its Doorbell. */
export interface FeedHost {
  readonly http: Http
  readonly persistence: Persistence | undefined
  /** Whether the feed is followed, or may be polled for, has changed. */
  moved(): void
  /** A page that this tab read, or that its own write made. */
  share(feed: Feed<any>, page: Page): void
}

/**
 * A feed: its items, kept fresh while somebody follows it. Values are whatever the feed's JSON is; T is not checked.
 * Get one from {@link Doorbell.feed}; the same name gives the same Feed.
 */
export interface Feed<T = unknown> {
  readonly name: string
  /** The items by key, own writes that are under way included. It is the same Map for ever, and changes in place. */
  readonly items: ReadonlyMap<string, T>
  /** Goes up with each change of the items; cheap to compare. */
  readonly version: number
  /** Where the feed is; '' while nothing was read, and when there is no such feed. */
  readonly cursor: string
  /** The same object until something changes. */
  readonly status: FeedStatus
  get(key: string): T | undefined
  /** The items as they are now, in a Map that never changes: the same one until something does. For React and its like. */
  snapshot(): ReadonlyMap<string, T>
  /**
   * Follows the feed: the listener hears of each change, what is there already excepted. The feed is read, subscribed and kept fresh
   * as long as somebody follows it. Ends with the function that is given back, or with the signal.
   */
  subscribe(listener: (change: FeedChange) => void, options?: Abortable): () => void
  /** Hears of each change of {@link status}, and follows the feed like {@link subscribe}. */
  onStatus(listener: (status: FeedStatus) => void, options?: Abortable): () => void

  /** @internal */
  readonly host: FeedHost
  /** @internal Only the cursor is followed. */
  readonly bare: boolean
  /** @internal */
  readonly replica: Replica
  /** @internal */
  readonly puller: Puller
  /** @internal Called before anybody hears of what was applied: lays over it what this client wrote. */
  lay?: (keys: Set<string>) => void
  /** @internal Tells the listeners. */
  emit(keys: Iterable<string>, reset: boolean): void
  /** @internal Hears of changes without following. */
  observe(listener: (change: FeedChange) => void): void
  /** @internal Follows without listening. */
  retain(): () => void
}

/** How long a feed that nobody follows any more stays subscribed, in ms: components come and go. */
const linger = 1_000

/** `read` is what a bare feed asks for its head with; others are read over HTTP. */
export function createFeed(name: string, host: FeedHost, read?: Read): Feed<any> {
  const listeners = new Set<(change: FeedChange) => void>()
  const watchers = new Set<(status: FeedStatus) => void>()
  let followers = 0
  let following = false
  let kept = false // what was kept was asked for
  let version = 0
  let copy: { version?: number; items?: ReadonlyMap<string, any> } = {}

  const replica = createReplica()
  const puller = createPuller({
    replica,
    read: read ?? pageReader(host.http, name),
    bare: !!read,
    applied({ keys, reset }, page, read) {
      feed.lay?.(keys)
      if (read) host.share(feed, (walks(page.since) && replica.snapshot()) || page)
      feed.emit(keys, reset)
    },
    changed(status) {
      // A long poll is for feeds that are loaded.
      if (status.transport === 'long-poll') host.moved()
      tell(watchers, status)
    },
  })

  const start = () => {
    if (!following) return
    puller.start()
    host.moved()
  }
  const end = () => {
    if (followers) return
    following = false
    puller.stop()
    host.moved()
  }
  const follow = <A>(set: Set<(a: A) => void>, listener: (a: A) => void, signal?: AbortSignal) => {
    if (!signal?.aborted && !followers++ && !following) {
      following = true
      if (host.persistence && !read && !kept) void host.persistence(feed).catch(() => 0).then(start)
      else start()
      kept = true
    }
    return listen(set, listener, signal, () => --followers || unref(setTimeout(end, linger)))
  }

  const feed: Feed<any> = {
    name, host, replica, puller,
    bare: !!read,
    items: replica.items,
    get version() {
      return version
    },
    get cursor() {
      return replica.have
    },
    get status() {
      return puller.status
    },
    get: (key) => replica.items.get(key),
    snapshot() {
      if (copy.version !== version) copy = { version, items: new Map(replica.items) }
      return copy.items!
    },
    subscribe: (listener, { signal } = {}) => follow(listeners, listener, signal),
    onStatus: (listener, { signal } = {}) => follow(watchers, listener, signal),
    retain: () => follow<FeedChange>(new Set(), () => {}),
    observe: (listener) => void listeners.add(listener),
    emit(keys, reset) {
      version++
      tell(listeners, { keys: new Set(keys), cursor: replica.have, reset })
    },
  }
  return feed
}
