import { watchEnvironment, hidden } from './environment.js'
import { Feed, call, type FeedHost } from './feed.js'
import { Http } from './http.js'
import { Ladder, type Link, type Rung } from './ladder.js'
import type { Sink } from './line.js'
import { openLongPoll } from './longpoll.js'
import { pageToWire, parsePage, type Page } from './page.js'
import { openSSE } from './sse.js'
import { Tabs, type TabMessage } from './tabs.js'
import type { Abortable, DoorbellOptions, Signal } from './types.js'
import { openWebSocket } from './websocket.js'

const rungs: readonly Rung[] = [
  { transport: 'websocket', open: openWebSocket },
  { transport: 'sse', open: openSSE },
  { transport: 'long-poll', open: openLongPoll },
]

/** What is known of one feed's name, whoever wants it. */
interface Entry<F> {
  feed?: F
  /** Follows the head only, for signals. */
  bare?: Feed
  tabs: Map<string, (() => void) | undefined> // who wants it elsewhere, and what lets go of the items for them
  known?: string | null // the newest head that was told
}

/** A feed's name is a namespace and parts: `prices:BTC-KRW`. */
const nameForm = /^[a-z][a-z0-9_-]{0,31}(:[A-Za-z0-9._~@-]+)*$/

/** One Doorbell server, as this page sees it. F is the feeds' class. */
export class Doorbell<F extends Feed = Feed> {
  readonly #http: Http
  readonly #ladder: Ladder
  readonly #tabs: Tabs
  readonly #host: FeedHost
  readonly #entries = new Map<string, Entry<F>>()
  readonly #watchers = new Set<(link: Link) => void>()
  readonly #pauses = new Set<() => void>()
  readonly #stopWatching: () => void
  #link: Link = { transport: 'none', degraded: false }
  #updating = false

  readonly #make: (name: string, host: FeedHost) => F

  /** @internal */
  constructor(o: DoorbellOptions, make: (name: string, host: FeedHost) => F) {
    this.#make = make
    // While a server renders, there is no location, and nothing is followed.
    const url = o.url || (globalThis.location?.origin ?? 'http://localhost')
    if (!/^https?:\/\/[^?#]*$/.test(url)) throw new TypeError(`url is ${JSON.stringify(o.url)}; allowed: http(s)://host, with a path or without`)
    this.#http = new Http({ ...o, url, credentials: o.credentials ?? 'same-origin' })
    const allowed = rungs.filter((r) => !o.transports || (o.transports as string[]).includes(r.transport))
    this.#ladder = new Ladder(this.#http, this.#sink(), allowed, (link) => this.#linked(link))
    this.#host = {
      http: this.#http,
      persistence: o.persistence,
      moved: () => this.#update(),
      share: (feed, page) => this.#share(feed, page),
      pause: (ms, signal) => this.#pause(ms, signal),
    }
    this.#tabs = new Tabs(o.tabs ?? this.#http.base, {
      lead: () => {
        this.#tabs.post({ k: 'lead', link: this.#ladder.link })
        this.#linked(this.#ladder.link)
        this.#ladder.update()
      },
      follow: () => {
        for (const e of this.#entries.values()) this.#letGo(e)
        this.#ladder.update()
        this.#want()
      },
      message: (m, from) => this.#heard(m, from),
      gone: (tab) => {
        for (const e of this.#entries.values()) this.#letGo(e, tab)
        this.#update()
      },
    })
    this.#stopWatching = watchEnvironment(() => this.wake())
  }

  /** The feed of that name; the same one each time. Throws a TypeError for what can't be a name. */
  feed(name: string): F {
    const e = this.#entry(name)
    return (e.feed ??= this.#joined(this.#make(name, this.#host)))
  }

  /**
   * For data that lives behind an API of your own: calls back when the feed moves, after the delay that the server asks for so that
   * not everybody fetches at once. The first call comes when the signals begin. Ends with the function that is given back, or
   * with the signal.
   */
  onSignal(feed: string, listener: (s: Signal) => void, options: Abortable = {}): () => void {
    const e = this.#entry(feed)
    const bare = (e.bare ??= this.#joined(new Feed(feed, this.#host, true)))
    let told: string | undefined
    const tell = () => {
      const first = told === undefined
      if (!bare.puller.loaded || told === bare.cursor) return
      told = bare.cursor
      listener({ feed, cursor: told, first })
    }
    const stop = bare.onStatus(tell, options)
    if (e.known !== undefined) bare.puller.head(e.known, 0, true)
    tell()
    return stop
  }

  /** How this client is connected, or the tab that leads. */
  get link(): Link {
    return this.#link
  }

  /** Hears of each change of {@link link}. */
  onLink(listener: (link: Link) => void, { signal }: Abortable = {}): () => void {
    const mine = (link: Link) => listener(link)
    if (!signal?.aborted) this.#watchers.add(mine)
    const stop = () => void this.#watchers.delete(mine)
    signal?.addEventListener('abort', stop)
    return stop
  }

  /** Whether this tab holds the connection. */
  get leads(): boolean {
    return this.#tabs.leads
  }

  /** Doubts everything and brings it up to date. Called by itself after sleep, and when the network or the user is back. */
  wake(): void {
    for (const resume of this.#pauses) resume()
    if (this.#tabs.leads) this.#ladder.wake()
    else this.#want(true)
    this.#each((f) => f.puller.wake())
  }

  /** Ends connections, timers and the part in the tabs' election. The feeds stay as they are. */
  close(): void {
    this.#stopWatching()
    this.#ladder.close()
    this.#tabs.close()
    this.#each((f) => f.puller.stop())
  }

  #joined<A extends Feed>(feed: A): A {
    feed.linked(this.#link, !this.#tabs.leads)
    return feed
  }

  #each(f: (feed: Feed) => void): void {
    for (const { feed, bare } of this.#entries.values()) {
      if (feed) f(feed)
      if (bare) f(bare)
    }
  }

  #entry(name: string): Entry<F> {
    let entry = this.#entries.get(name)
    if (!entry) {
      if (!nameForm.test(name) || name.length > 128) {
        throw new TypeError(`${JSON.stringify(name)} can't be a feed; allowed: a namespace (a-z first) and parts joined by ":", such as prices:BTC-KRW`)
      }
      this.#entries.set(name, (entry = { tabs: new Map() }))
    }
    return entry
  }

  // What the ladder tells, in the tab that leads.

  #sink(): Sink {
    return {
      cursors: (polled) => {
        const cursors: Record<string, string> = {}
        if (!this.#tabs.leads) return cursors
        for (const [name, e] of this.#entries) {
          const pages = e.feed?.following && e.feed.puller
          if (polled ? pages && !pages.behind : pages || e.bare?.following || e.tabs.size) {
            cursors[name] = pages ? pages.resumeFrom : ''
          }
        }
        return cursors
      },
      head: (feed, cursor, spread, first) => {
        this.#head(feed, cursor, spread, first)
        this.#post({ k: 'head', feed, cursor, spread, first })
      },
      page: (feed, page) => {
        this.feed(feed).puller.offer(page)
        this.#share(this.feed(feed), page)
      },
      problem: (feed, e) => this.feed(feed).puller.refused(e),
      denied: (feed, reason) => {
        this.#denied(feed, reason)
        this.#post({ k: 'denied', feed, reason })
      },
    }
  }

  #head(name: string, cursor: string | null, spread: number, first: boolean): void {
    const e = this.#entry(name)
    e.known = cursor
    e.feed?.puller.head(cursor, spread, first)
    e.bare?.puller.head(cursor, spread, first)
  }

  #denied(name: string, reason: string): void {
    const e = this.#entry(name)
    e.feed?.refused(reason)
    e.bare?.refused(reason)
  }

  #linked(link: Link): void {
    this.#link = link
    if (this.#tabs?.leads) this.#post({ k: 'link', link: { ...link, error: undefined } })
    if (link.transport === 'none' || link.transport === 'polling') for (const e of this.#entries.values()) delete e.known
    this.#each((f) => this.#joined(f))
    for (const f of this.#watchers) call(f, link)
  }

  /** Tells the ladder, or the tab that leads, what is followed now; many changes of one moment together. */
  #update(): void {
    if (this.#updating) return
    this.#updating = true
    queueMicrotask(() => {
      this.#updating = false
      if (this.#tabs.leads) this.#ladder.update()
      else this.#want()
    })
  }

  // Between tabs.

  #wanted = ''
  #want(wake = false): void {
    const feeds: Record<string, string> = {}
    const items: string[] = []
    for (const [name, e] of this.#entries) {
      const full = e.feed?.following
      if (!full && !e.bare?.following) continue
      feeds[name] = full ? e.feed!.cursor : ''
      if (full) items.push(name)
    }
    const said = Object.keys(feeds) + '|' + items
    if (said === this.#wanted && !wake) return
    this.#wanted = said
    this.#tabs.post({ k: 'want', feeds, items, visible: !hidden(), ...(wake && { wake }) })
  }

  #post(m: TabMessage): void {
    if (this.#tabs.others) this.#tabs.post(m)
  }

  /** Gives a page that this tab has to the others. */
  #share(feed: Feed<any>, page: Page): void {
    if (this.#tabs.leads && !this.#tabs.others) return
    const { name } = feed
    this.#tabs.post(
      feed.bare
        ? { k: 'head', feed: name, cursor: page.cursor.text, spread: 0, first: false }
        : { k: 'page', feed: name, page: pageToWire(page) },
    )
  }

  #letGo(e: Entry<F>, tab?: string): void {
    for (const [id, release] of e.tabs) {
      if (tab !== undefined && id !== tab) continue
      release?.()
      e.tabs.delete(id)
    }
  }

  #heard(m: TabMessage, from: string): void {
    if (m.k === 'page') {
      this.#entry(m.feed).feed?.puller.offer(parsePage(m.page))
    } else if (this.#tabs.leads) {
      if (m.k === 'want') this.#serve(m, from)
    } else if (m.k === 'lead' || m.k === 'link') {
      this.#linked(m.link)
      if (m.k === 'lead') this.#want(true)
    } else if (m.k === 'head') {
      this.#head(m.feed, m.cursor, m.spread, m.first)
    } else if (m.k === 'denied') {
      this.#denied(m.feed, m.reason)
    }
  }

  /** Follows for another tab what it wants, and tells it what is known. */
  #serve(m: TabMessage & { k: 'want' }, tab: string): void {
    this.#tabs.post({ k: 'link', link: { ...this.#link, error: undefined } }, tab)
    for (const [name, e] of this.#entries) if (!(name in m.feeds)) this.#letGo(e, tab)
    for (const [name, cursor] of Object.entries(m.feeds)) {
      const e = this.#entry(name)
      const had = e.tabs.get(tab)
      if (m.items.includes(name)) e.tabs.set(tab, had ?? this.feed(name).retain())
      else {
        had?.()
        e.tabs.set(tab, undefined)
      }
      const whole = e.feed?.whole()
      if (whole && whole.cursor.text !== cursor) this.#tabs.post({ k: 'page', feed: name, page: pageToWire(whole) }, tab)
      if (e.known !== undefined) this.#tabs.post({ k: 'head', feed: name, cursor: e.known, spread: 0, first: true }, tab)
    }
    if (m.wake) this.#ladder.wake()
    this.#update()
  }

  #pause(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (f: () => void) => {
        clearTimeout(timer)
        this.#pauses.delete(resume)
        signal?.removeEventListener('abort', abort)
        f()
      }
      const resume = () => end(resolve)
      const abort = () => end(() => reject(signal!.reason))
      const timer = setTimeout(resume, ms)
      this.#pauses.add(resume)
      signal?.addEventListener('abort', abort)
    })
  }
}
