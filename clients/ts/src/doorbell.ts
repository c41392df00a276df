import type { Read } from './answer.js'
import { walks, type Cursor } from './cursor.js'
import { watchEnvironment, hidden } from './environment.js'
import { createFeed, type Feed, type FeedHost } from './feed.js'
import { createHttp } from './http.js'
import { createLadder, unlinked, type Link, type Rung } from './ladder.js'
import type { News, Sink } from './line.js'
import { listen, tell } from './listen.js'
import { openLongPoll } from './longpoll.js'
import type { Page } from './page.js'
import { openSSE } from './sse.js'
import { createTabs, type TabMessage } from './tabs.js'
import type { Abortable, DoorbellOptions } from './types.js'
import { openWebSocket } from './websocket.js'

const rungs: readonly Rung[] = [['websocket', openWebSocket], ['sse', openSSE], ['long-poll', openLongPoll]]

/** What is known of one feed's name, whoever wants it. */
interface Entry<F> {
  feed?: F
  /** Follows the head only, for signals. */
  bare?: Feed
  tabs: Map<string, (() => void) | undefined> // who wants it elsewhere, and what lets go of the items for them
  known?: Cursor | null // the newest head that was told
}

/** A feed's name is a namespace and parts: `prices:BTC-KRW`. */
const nameForm = /^[a-z][a-z0-9_-]{0,31}(:[A-Za-z0-9._~@-]+)*$/

/** One Doorbell server, as this page sees it. F is what its feeds can do. */
export interface Doorbell<F extends Feed = Feed> {
  /** The feed of that name; the same one each time. Throws a TypeError for what can't be a name. */
  feed(name: string): F
  /** How this client is connected, or the tab that leads. */
  readonly link: Link
  /** Hears of each change of {@link link}. */
  onLink(listener: (link: Link) => void, options?: Abortable): () => void
  /** Whether this tab holds the connection. */
  readonly leads: boolean
  /** Doubts everything and brings it up to date. Called by itself after sleep, and when the network or the user is back. */
  wake(): void
  /** Ends connections, timers and the part in the tabs' election. The feeds stay as they are. */
  close(): void
  /** @internal A feed of which only the head is followed. `read` asks for it where it is not told. The same one each time. */
  bare(name: string, read: Read): Feed
}

/** `make` adds to a feed what else it can do. */
export function connect<F extends Feed>(o: DoorbellOptions, make: (feed: Feed<any>) => F): Doorbell<F> {
  // While a server renders, there is no location, and nothing is followed.
  const url = o.url || (globalThis.location?.origin ?? 'http://localhost')
  if (!/^https?:\/\/[^?#]*$/.test(url)) throw new TypeError(`"${url}" is no URL such as https://host/path`)
  const entries = new Map<string, Entry<F>>()
  const watchers = new Set<(link: Link) => void>()
  let link = unlinked
  let updating = false
  let wanted = ''

  const entry = (name: string): Entry<F> => {
    let e = entries.get(name)
    if (!e) {
      if (!nameForm.test(name) || name.length > 128) {
        throw new TypeError(`"${name}" is no name such as prices:BTC-KRW`)
      }
      entries.set(name, (e = { tabs: new Map() }))
    }
    return e
  }
  const feedsOf = ({ feed, bare }: Entry<F>): Feed[] => [feed, bare].filter((f) => !!f) as Feed[]
  const join = <A extends Feed>(feed: A): A => {
    feed.puller.link(link, !tabs.leads)
    return feed
  }
  const each = (f: (feed: Feed) => void) => {
    for (const e of entries.values()) feedsOf(e).forEach(f)
  }
  const getFeed = (name: string): F => {
    const e = entry(name)
    return (e.feed ??= join(make(createFeed(name, host))))
  }

  /** Tells the ladder, or the tab that leads, what is followed now; many changes of one moment together. */
  const update = () => {
    if (updating) return
    updating = true
    queueMicrotask(() => {
      updating = false
      if (tabs.leads) ladder.update()
      else want()
    })
  }
  const linked = (to: Link) => {
    link = to
    if (tabs.leads) post(linkMessage())
    if (to.transport === 'none' || to.transport === 'polling') for (const e of entries.values()) delete e.known
    each(join)
    tell(watchers, to)
  }
  const hear = (n: News) => {
    const e = entry(n.feed)
    if (n.k === 'page') e.feed?.puller.offer(n.page)
    else {
      if (n.k === 'head') e.known = n.cursor
      for (const { puller } of feedsOf(e)) {
        if (n.k === 'head') puller.head(n.cursor, n.spread, n.first)
        else puller.deny(n.reason)
      }
    }
  }
  const wake = () => {
    if (tabs.leads) ladder.wake()
    else want(true)
    each((f) => f.puller.wake())
  }

  // Between tabs.

  const want = (wake = false) => {
    const feeds: Record<string, Cursor | null> = {}
    let said = ''
    for (const [name, { feed, bare }] of entries) {
      const full = feed?.puller.active
      if (full || bare?.puller.active) {
        feeds[name] = full ? feed.cursor : null
        said += name + !full
      }
    }
    if (said === wanted && !wake) return
    wanted = said
    tabs.post({ k: 'want', feeds, visible: !hidden(), wake })
  }
  const post = (m: TabMessage) => {
    if (tabs.others || !tabs.leads) tabs.post(m)
  }
  const linkMessage = (lead?: boolean): TabMessage => ({ k: 'link', link: { ...link, error: undefined }, lead })
  /** Gives what this tab has read to the others. */
  const share = ({ name: feed, bare }: Feed<any>, page: Page) =>
    post(bare ? { k: 'head', feed, cursor: page.cursor } : { k: 'page', feed, page })
  const letGo = (e: Entry<F>, tab?: string) => {
    for (const [id, release] of e.tabs) {
      if (tab && id !== tab) continue
      release?.()
      e.tabs.delete(id)
    }
  }
  /** Follows for another tab what it wants, and tells it what is known. */
  const serve = ({ feeds, wake }: TabMessage & { k: 'want' }, tab: string) => {
    tabs.post(linkMessage(), tab)
    for (const [name, e] of entries) if (!(name in feeds)) letGo(e, tab)
    for (const [name, cursor] of Object.entries(feeds)) {
      const e = entry(name)
      const had = e.tabs.get(tab)
      if (cursor === null) had?.()
      e.tabs.set(tab, cursor === null ? undefined : (had ?? getFeed(name).retain()))
      const whole = cursor !== null && e.feed?.puller.loaded && e.feed.replica.snapshot()
      if (whole && whole.cursor !== cursor) tabs.post({ k: 'page', feed: name, page: whole }, tab)
      if (e.known !== undefined) tabs.post({ k: 'head', feed: name, cursor: e.known, first: true }, tab)
    }
    if (wake) ladder.wake()
    update()
  }

  // What the ladder tells, in the tab that leads.
  const sink: Sink = {
    cursors(polled) {
      const cursors: Record<string, Cursor> = {}
      if (!tabs.leads) return cursors
      for (const [name, { feed, bare, tabs }] of entries) {
        const full = feed?.puller.active
        if (polled ? full && !feed.puller.behind() : full || bare?.puller.active || tabs.size) {
          // In the middle of a walk nothing, as its cursor is no head.
          const from = full ? feed.replica.from : ''
          cursors[name] = walks(from) ? '' : from
        }
      }
      return cursors
    },
    news(n) {
      hear(n)
      post(n)
    },
    problem: (name, e) => getFeed(name).puller.refused(e),
  }

  const http = createHttp(url, o)
  const host: FeedHost = { http, persistence: o.persistence, moved: update, share }
  const ladder = createLadder(http, sink, rungs.filter(([t]) => !o.transports || (o.transports as string[]).includes(t)), linked)
  const tabs = createTabs(o.tabs ?? http.base, {
    lead() {
      linked(unlinked)
      tabs.post(linkMessage(true))
      ladder.update()
    },
    follow() {
      wanted = ''
      for (const e of entries.values()) letGo(e)
      ladder.update()
      want()
    },
    message(m, from) {
      if (m.k === 'want') {
        if (tabs.leads) serve(m, from)
      } else if (m.k === 'link') {
        if (tabs.leads) return
        linked(m.link)
        if (m.lead) want(true)
      } else if (m.k === 'page' || (m.k !== 'take' && !tabs.leads)) hear(m)
    },
    gone(tab) {
      for (const e of entries.values()) letGo(e, tab)
      update()
    },
  })
  const stopWatching = watchEnvironment(wake)

  return {
    feed: getFeed,
    bare(name, read) {
      const e = entry(name)
      const feed = (e.bare ??= join(createFeed(name, host, read)))
      if (e.known !== undefined) feed.puller.head(e.known, 0, true)
      return feed
    },
    get link() {
      return link
    },
    onLink: (listener, { signal } = {}) => listen(watchers, listener, signal),
    get leads() {
      return tabs.leads
    },
    wake,
    close() {
      stopWatching()
      ladder.close()
      tabs.close()
      each((f) => f.puller.stop())
    },
  }
}
