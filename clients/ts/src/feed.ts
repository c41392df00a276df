import { compare, type Cursor } from './cursor.js'
import { DoorbellError } from './errors.js'
import { offline } from './environment.js'
import type { Http } from './http.js'
import type { Link } from './ladder.js'
import type { Page } from './page.js'
import { Puller, type News } from './puller.js'
import { Replica, type Applied, type Pending } from './replica.js'
import type { Abortable, FeedChange, FeedStatus, Persistence } from './types.js'

/** What a feed needs of its Doorbell. */
export interface FeedHost {
  readonly http: Http
  readonly persistence: Persistence | undefined
  /** Whether the feed is followed, or may be polled for, has changed. */
  moved(): void
  /** A page that this tab read, or that its own write made. */
  share(feed: Feed<any>, page: Page): void
  /** Ends when the machine woke or the network is back, at the latest after so many ms. */
  pause(ms: number, signal?: AbortSignal): Promise<void>
}

/** How long a feed that nobody follows any more stays subscribed, in ms: components come and go. */
const linger = 1_000

/**
 * A feed: its items, kept fresh while somebody follows it. Values are whatever the feed's JSON is; T is not checked.
 * Get one from {@link Doorbell.feed}; the same name gives the same Feed.
 */
export class Feed<T = unknown> implements AsyncIterable<FeedChange> {
  /** Goes up with each change of the items; cheap to compare. */
  version = 0
  /** @internal */
  readonly replica = new Replica<T>()
  /** @internal */
  readonly puller: Puller
  readonly #listeners = new Set<(change: FeedChange) => void>()
  readonly #watchers = new Set<(status: FeedStatus) => void>()
  #followers = 0
  #following = false
  #link: Link = { transport: 'none', degraded: false }
  #denied: DoorbellError | undefined
  #status: FeedStatus
  #kept = false // what was kept was asked for
  /** @internal Written, and not yet part of what was read. */
  confirmed: { at: Cursor; pending: Pending[] }[] = []
  #copy: { version: number; items: ReadonlyMap<string, T> } | undefined

  /** @internal */
  constructor(
    readonly name: string,
    /** @internal */
    readonly host: FeedHost,
    /** @internal Only the cursor is followed. */
    readonly bare = false,
  ) {
    this.puller = new Puller({
      name,
      http: host.http,
      bare,
      replica: this.replica as Replica<unknown>,
      applied: (a, page, read) => this.#applied(a, page, read),
      changed: () => this.#changed(),
    })
    this.#status = this.#makeStatus()
  }

  /** The items by key, own writes that are under way included. It is the same Map for ever, and changes in place. */
  get items(): ReadonlyMap<string, T> {
    return this.replica.items
  }

  /** The items as they are now, in a Map that never changes: the same one until something does. For React and its like. */
  snapshot(): ReadonlyMap<string, T> {
    if (this.#copy?.version !== this.version) this.#copy = { version: this.version, items: new Map(this.items) }
    return this.#copy.items
  }

  get(key: string): T | undefined {
    return this.items.get(key)
  }

  /** Where the feed is; '' while nothing was read, and when there is no such feed. */
  get cursor(): string {
    return this.replica.have.text
  }

  /** The cursor of an item's latest change, for the `if` of a write; '' when there is no such item. */
  cursorOf(key: string): string {
    const seq = this.replica.seq(key)
    return seq ? `${this.replica.have.epoch}-${seq}` : ''
  }

  /** The same object until something changes. */
  get status(): FeedStatus {
    return this.#status
  }

  /**
   * Follows the feed: the listener hears of each change, what is there already excepted. The feed is read, subscribed and kept fresh
   * as long as somebody follows it. Ends with the function that is given back, or with the signal.
   */
  subscribe(listener: (change: FeedChange) => void, { signal }: Abortable = {}): () => void {
    return this.#follow(this.#listeners, listener, signal)
  }

  /** Hears of each change of {@link status}, and follows the feed like {@link subscribe}. */
  onStatus(listener: (status: FeedStatus) => void, { signal }: Abortable = {}): () => void {
    return this.#follow(this.#watchers, listener, signal)
  }

  /** Waits until all of the feed is here, and follows it meanwhile. Rejects with the signal's reason, or when reading is denied. */
  async ready({ signal }: Abortable = {}): Promise<this> {
    signal?.throwIfAborted()
    if (this.puller.loaded && this.#following) return this
    await new Promise<void>((resolve, reject) => {
      const check = () => {
        const refused = this.#denied ?? (this.puller.error?.status === 401 || this.puller.error?.status === 403 ? this.puller.error : undefined)
        if (signal?.aborted) reject(signal.reason)
        else if (this.puller.loaded) resolve()
        else if (refused) reject(refused)
        else return
        stop()
        signal?.removeEventListener('abort', check)
      }
      const stop = this.onStatus(check)
      signal?.addEventListener('abort', check)
      queueMicrotask(check)
    })
    return this
  }

  /**
   * Follows the feed as a sequence: what is there first, then each change. Changes that come while the loop's body runs are
   * one. Ends with the loop, or with the signal.
   */
  async *changes({ signal }: Abortable = {}): AsyncGenerator<FeedChange, void, undefined> {
    let next: FeedChange | undefined = this.puller.loaded ? { keys: new Set(this.items.keys()), cursor: this.cursor, reset: false } : undefined
    let wake: (() => void) | undefined
    const stop = this.subscribe((c) => {
      next = next ? { keys: new Set([...next.keys, ...c.keys]), cursor: c.cursor, reset: next.reset || c.reset } : c
      wake?.()
    })
    const abort = () => wake?.()
    signal?.addEventListener('abort', abort)
    try {
      while (!signal?.aborted) {
        if (!next) await new Promise<void>((resolve) => (wake = resolve))
        const now = next
        next = undefined
        if (now && !signal?.aborted) yield now
      }
    } finally {
      stop()
      signal?.removeEventListener('abort', abort)
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<FeedChange, void, undefined> {
    return this.changes()
  }

  // The rest is told by the Doorbell that this feed belongs to.

  /** @internal */
  linked(link: Link, remote: boolean): void {
    if (link.transport !== this.#link.transport) this.#denied = undefined
    this.#link = link
    const news: Record<Link['transport'], News> = {
      none: 'connecting', websocket: 'signals', sse: 'signals', 'long-poll': 'pages', polling: 'polling',
    }
    this.puller.link(news[link.transport], link.degraded, remote)
    this.#changed()
  }

  /** @internal */
  refused(reason: string): void {
    this.#denied = new DoorbellError(reason, 'this client may not follow ' + this.name, 403)
    this.#changed()
  }

  /** @internal */
  get following(): boolean {
    return this.#following
  }

  /** @internal Hears of changes without following. */
  observe(listener: (change: FeedChange) => void): void {
    this.#listeners.add(listener)
  }

  /** @internal */
  whole(): Page | undefined {
    return this.puller.loaded ? this.replica.snapshot() : undefined
  }

  /** @internal Follows without listening. */
  retain(): () => void {
    return this.#follow(new Set<() => void>(), () => {})
  }

  #follow<F>(set: Set<F>, listener: F, signal?: AbortSignal): () => void {
    if (signal?.aborted) return () => {}
    // One listener may follow twice.
    const mine = ((x: unknown) => (listener as (x: unknown) => void)(x)) as F
    set.add(mine)
    if (this.#followers++ === 0 && !this.#following) this.#begin()
    const stop = () => {
      if (!set.delete(mine)) return
      signal?.removeEventListener('abort', stop)
      if (--this.#followers > 0) return
      const timer = setTimeout(() => this.#followers === 0 && this.#following && this.#end(), linger)
      ;(timer as { unref?: () => void }).unref?.()
    }
    signal?.addEventListener('abort', stop)
    return stop
  }

  #begin(): void {
    this.#following = true
    const { persistence } = this.host
    if (persistence && !this.bare && !this.#kept) void persistence(this).catch(() => 0).then(() => this.#start())
    else this.#start()
    this.#kept = true
  }

  #start(): void {
    if (!this.#following) return
    this.puller.start()
    this.host.moved()
  }

  #end(): void {
    this.#following = false
    this.puller.stop()
    this.host.moved()
    this.#changed()
  }

  #applied(a: Applied, page: Page, read: boolean): void {
    this.confirmed = this.confirmed.filter(({ at, pending }) => {
      if (compare(this.replica.have, at) < 0) return true
      for (const p of pending) {
        this.replica.settle(p)
        a.keys.add(p.key)
      }
      return false
    })
    if (read) this.host.share(this, page.since.base ? (this.replica.snapshot() ?? page) : page)
    this.emit(a.keys, a.reset)
  }

  /** @internal */
  emit(keys: Iterable<string>, reset: boolean): void {
    this.version++
    const change = { keys: new Set(keys), cursor: this.cursor, reset }
    for (const f of this.#listeners) call(f, change)
  }

  #changed(): void {
    const last = this.#status
    const next = this.#makeStatus()
    if (next.state === last.state && next.transport === last.transport && next.error === last.error && next.staleSince === last.staleSince) return
    this.#status = next
    // A long poll is for feeds that are loaded.
    if (next.transport === 'long-poll') this.host.moved()
    for (const f of this.#watchers) call(f, next)
  }

  #makeStatus(): FeedStatus {
    const { puller } = this
    const error = this.#denied ?? puller.error ?? this.#link.error
    const lost = puller.error?.code === 'network' || (offline() && puller.polls)
    const denied = this.#denied || puller.error?.status === 401 || puller.error?.status === 403
    const state = !this.#following ? 'idle'
      : denied ? 'denied'
      : lost ? 'offline'
      : puller.behind || this.#link.transport === 'none' ? 'catching-up'
      : puller.polls ? 'polling'
      : 'live'
    return { state, transport: this.#link.transport, staleSince: state === 'live' ? 0 : puller.freshAt, error }
  }
}

/** A listener's mistake is its own. */
export function call<A>(f: (a: A) => void, a: A): void {
  try {
    f(a)
  } catch (e) {
    ;(globalThis.reportError ?? console.error)(e)
  }
}
