import type { Cursor } from './cursor.js'
import { watchEnvironment, hidden } from './environment.js'
import { createFeed, type Feed, type FeedHost } from './feed.js'
import { createHttp } from './http.js'
import { createLadder, unlinked, type Link, type Rung } from './ladder.js'
import type { News, Sink } from './line.js'
import { listen, tell } from './listen.js'
import { openLongPoll } from './longpoll.js'
import type { Page } from './page.js'
import type { Follower } from './puller.js'
import { openSSE } from './sse.js'
import { createTabs, type TabMessage } from './tabs.js'
import type { Abortable, DoorbellOptions } from './types.js'
import { openWebSocket } from './websocket.js'

const rungs: readonly Rung[] = [['websocket', openWebSocket], ['sse', openSSE], ['long-poll', openLongPoll]]

/** What is known of one feed's name, whoever wants it. */
interface Entry<F> {
  feed?: F
  /** Follows the head only, for signals. */
  bare?: Follower
  followers: Set<Follower> // those two
  tabs: Map<number, (() => void) | undefined> // who wants it elsewhere, and what lets go of the items for them
  known?: Cursor | null // the newest head that was told
}

/** A feed's name is a namespace and parts: `prices:BTC-KRW`. */
const nameForm = /^[a-z][a-z0-9_-]{0,31}(:[\w.~@-]+)*$/

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
  /** @internal Who follows only the head of that feed; the same one each time. */
  bare<B extends Follower>(name: string, make: (host: FeedHost) => B): B
}

/** `make` adds to a feed what else it can do. */
export const connect = <F extends Feed>(o: DoorbellOptions, make: (feed: Feed<any>) => F): Doorbell<F> => {
  // While a server renders, there is no location, and nothing is followed.
  const url = o.url || globalThis.location?.origin || 'http://localhost'
  if (!/^https?:\/\/[^?#]*$/.test(url)) throw new TypeError(`no URL such as https://host/path: ${url}`)
  const entries = new Map<string, Entry<F>>()
  const watchers = new Set<(link: Link) => void>()
  let link = unlinked
  let updating = false
  let wanted = ''

  const entry = (name: string): Entry<F> => {
    let e = entries.get(name)
    if (!e) {
      if (!nameForm.test(name) || name.length > 128) {
        throw new TypeError(`no name such as prices:BTC-KRW: ${name}`)
      }
      entries.set(name, (e = { followers: new Set(), tabs: new Map() }))
    }
    return e
  }
  const each = (f: (follower: Follower) => void) => entries.forEach((e) => e.followers.forEach(f))
  const join = (f: Follower) => f.link(link, !tabs.leads)
  const getFeed = (name: string): F => {
    const e = entry(name)
    if (!e.feed) {
      e.feed = make(createFeed(name, host))
      e.followers.add(e.feed.puller)
      join(e.feed.puller)
    }
    return e.feed
  }

  /** Where each feed is that is followed, here or in a tab that this one leads; null: signals alone. `polled`: see Sink. */
  const followed = (polled?: boolean) => {
    const cursors: Record<string, Cursor | null> = {}
    for (const [name, { feed, bare, tabs }] of entries) {
      const full = feed?.puller.active
      if (polled ? full && !feed.puller.behind() : full || bare?.active || tabs.size) cursors[name] = full ? feed.cursor : null
    }
    return cursors
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
    if (n.k === 'head') e.known = n.with[0]
    for (const f of e.followers) (f as any)[n.k]?.(...n.with)
  }
  const wake = () => {
    if (tabs.leads) ladder.wake()
    else want(true)
    each((f) => f.wake())
  }

  // Between tabs.

  const want = (wake = false) => {
    const feeds = followed()
    const said = Object.entries(feeds).map(([name, cursor]) => name + (cursor === null)).join()
    if (said === wanted && !wake) return
    wanted = said
    tabs.post({ k: 'want', feeds, visible: !hidden(), wake })
  }
  const post = (m: TabMessage) => {
    if (tabs.others || !tabs.leads) tabs.post(m)
  }
  const linkMessage = (lead?: boolean): TabMessage => ({ k: 'link', link: { ...link, error: undefined }, lead })
  /** Gives what this tab has read to the others. */
  const share = (feed: string, page: Page) => post({ k: 'offer', feed, with: [page] })
  /** Follows nothing any more for a tab, or for all. */
  const letGo = (tab?: number) => {
    for (const { tabs } of entries.values()) {
      for (const [id, release] of tabs) {
        if (tab && id !== tab) continue
        release?.()
        tabs.delete(id)
      }
    }
  }
  /** Follows for another tab what it wants, and tells it what is known. */
  const serve = ({ feeds, wake }: TabMessage & { k: 'want' }, tab: number) => {
    tabs.post(linkMessage(), tab)
    letGo(tab) // a feed lingers
    for (const [name, cursor] of Object.entries(feeds)) {
      const e = entry(name)
      e.tabs.set(tab, cursor === null ? undefined : getFeed(name).subscribe(() => {}))
      const whole = cursor !== null && e.feed?.puller.loaded && e.feed.replica.snapshot()
      if (whole && whole.cursor !== cursor) tabs.post({ k: 'offer', feed: name, with: [whole] }, tab)
      if (e.known !== undefined) tabs.post({ k: 'head', feed: name, with: [e.known, 0, true] }, tab)
    }
    if (wake) ladder.wake()
    update()
  }

  // What the ladder tells, in the tab that leads.
  const sink: Sink = {
    cursors: (polled) => (tabs.leads ? followed(polled) : {}),
    news(n) {
      hear(n)
      post(n)
    },
    problem: (name, e) => getFeed(name).puller.refused(e),
  }

  const end = new AbortController()
  const http = createHttp(url, o)
  const host: FeedHost = { http, moved: update, share }
  const ladder = createLadder(http, sink, rungs.filter(([t]) => (o.transports as string[] | undefined)?.includes(t) ?? true), linked)
  const tabs = createTabs(o.tabs ?? http.base, {
    lead() {
      linked(unlinked)
      tabs.post(linkMessage(true))
      ladder.update()
    },
    follow() {
      wanted = ''
      letGo()
      ladder.update()
      want()
    },
    message(m, from) {
      if (m.k === 'offer') hear(m)
      else if (tabs.leads) {
        if (m.k === 'want') serve(m, from)
      } else if (m.k === 'link') {
        linked(m.link)
        if (m.lead) want(true)
      } else if (m.k !== 'want' && m.k !== 'take') hear(m)
    },
    gone(tab) {
      letGo(tab)
      update()
    },
  }, end.signal)
  watchEnvironment(wake, end.signal)

  return {
    feed: getFeed,
    bare(name, make) {
      const e = entry(name)
      const follower = (e.bare ??= make(host))
      e.followers.add(follower)
      join(follower)
      if (e.known !== undefined) follower.head(e.known, 0, true)
      return follower as any
    },
    get link() {
      return link
    },
    onLink: (listener, options) => listen(watchers, listener, options),
    get leads() {
      return tabs.leads
    },
    wake,
    close() {
      end.abort()
      ladder.close()
      each((f) => f.stop())
    },
  }
}
