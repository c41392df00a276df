import { pageReader } from './answer.js'
import { walks } from './cursor.js'
import type { Http } from './http.js'
import { listen, tell } from './listen.js'
import type { Page } from './page.js'
import { createPuller, type Puller } from './puller.js'
import { createReplica, type Replica } from './replica.js'
import type { Abortable, FeedChange, FeedStatus } from './types.js'

/** What a feed needs of its Doorbell. */
export interface FeedHost {
  readonly http: Http
  /** Whether the feed is followed, or may be polled for, has changed. */
  moved(): void
  /** A page that this tab read, or that its own write made. */
  share(feed: string, page: Page): void
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
  /** @internal */
  readonly replica: Replica
  /** @internal */
  readonly puller: Puller
  /** @internal Brings back what was kept from an earlier visit; never rejects. */
  kept?: () => Promise<unknown>
  /** @internal Called before anybody hears of what was applied: lays over it what this client wrote. */
  lay?: (keys: Set<string>) => void
  /** @internal Tells the listeners. */
  emit(keys: Iterable<string>, reset: boolean): void
  /** @internal Hears of changes without following. */
  observe(listener: (change: FeedChange) => void): void
}

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  /** How long a feed that nobody follows any more stays subscribed, in ms: components come and go. */
  linger = 1_000,
}

export const createFeed = (name: string, host: FeedHost): Feed<any> => {
  const listeners = new Set<(change: FeedChange) => void>()
  const watchers = new Set<(status: FeedStatus) => void>()
  let followers = 0
  let following = false
  let version = 0
  let copy: ReadonlyMap<string, any> | undefined // of the items, as they are now

  const replica = createReplica()
  const puller = createPuller({
    replica,
    read: pageReader(host.http, name),
    applied({ keys, reset }, page, read) {
      feed.lay?.(keys)
      if (read) host.share(name, (walks(page.since) && replica.snapshot()) || page)
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
  const follow = <A>(set: Set<(a: A) => void>, listener: (a: A) => void, options?: Abortable) => {
    if (!options?.signal?.aborted && !followers++ && !following) {
      following = true
      if (feed.kept) void feed.kept().then(start)
      else start()
    }
    return listen(set, listener, options, () => --followers || setTimeout(end, Bound.linger))
  }

  const feed: Feed<any> = {
    name, host, replica, puller,
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
    snapshot: () => (copy ??= new Map(replica.items)),
    subscribe: (listener, options) => follow(listeners, listener, options),
    onStatus: (listener, options) => follow(watchers, listener, options),
    observe: (listener) => void listeners.add(listener),
    emit(keys, reset) {
      version++
      copy = undefined
      tell(listeners, { keys: new Set(keys), cursor: replica.have, reset })
    },
  }
  return feed
}
