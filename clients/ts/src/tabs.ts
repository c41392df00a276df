// One connection per browser. Tabs elect a leader with a Web Lock, which the browser frees when its tab goes, crashes
// included; the leader tells the others what it hears and reads over a BroadcastChannel.
//
//   follower ── want {feed: cursor} ──▶ leader     leader ── link, head, page ──▶ all
//   any tab  ── page (its own write) ──▶ all

import type { Cursor } from './cursor.js'
import { hidden, listenTo } from './environment.js'
import type { Link } from './ladder.js'
import type { News } from './line.js'
import { createAlarm, now } from './pace.js'

/** What tabs tell each other. */
export type TabMessage = News
  /** `lead`: there is a new leader, so say what you want. */
  | { k: 'link'; link: Link; lead?: boolean | undefined }
  /** A follower follows these and no others, and is there; null: signals alone. `wake`: doubt your connection. */
  | { k: 'want'; feeds: Record<string, Cursor | null>; wake: boolean; visible: boolean }
  /** The leader has been hidden for long, and browsers slow such tabs down: take over. */
  | { k: 'take' }

/** `to` is the one tab that it is meant for; absent: all. */
type Envelope = TabMessage & { id: number; to?: number | undefined }

export interface TabsEvents {
  lead(): void
  /** Another tab leads. */
  follow(): void
  message(m: TabMessage, from: number): void
  /** A tab that has sent `want` is gone. */
  gone(tab: number): void
}

export interface Tabs {
  readonly leads: boolean
  /** Others that have been heard. */
  readonly others: boolean
  /** Tells all other tabs, or one. */
  post(m: TabMessage, to?: number): void
}

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  /** How long a leader may stay silent when it is asked, in ms. A frozen tab does not answer. */
  answerWithin = 2_000,
  /** After so many ms hidden a leader gives way to a tab that is seen; browsers slow timers down after five minutes. */
  hiddenTooLong = 60_000,
}

/** Joins the tabs of that name, until the signal ends it. Where the browser has no locks, this tab is on its own and leads at once. */
export const createTabs = (name: string | false, events: TabsEvents, signal: AbortSignal): Tabs => {
  const locks: LockManager | undefined = globalThis.navigator?.locks
  const id = Math.random()
  const known = new Set<number>()
  const answer = createAlarm()
  let asked = false // and the leader has not answered yet
  let leads = false
  let resign: (() => void) | undefined
  let hiddenAt = 0
  let channel: BroadcastChannel | undefined

  const nameOf = (tab: number | '') => `doorbell:${name}:${tab}`
  const answered = () => {
    asked = false
    answer()
  }
  const elect = (steal?: boolean) => {
    answered()
    if (leads || signal.aborted) return
    locks!.request(nameOf(''), steal ? { steal } : { signal }, async () => {
      if (signal.aborted || leads) return
      answered()
      leads = true
      events.lead()
      await new Promise<void>((resolve) => (resign = resolve))
    }).catch(() => {
      // Another tab took the lock, because this one was hidden or did not answer.
      if (!leads || signal.aborted) return
      leads = false
      known.clear()
      events.follow()
      elect()
    })
  }
  const post = (m: TabMessage, to?: number) => {
    if (!channel || signal.aborted) return
    channel.postMessage({ ...m, id, to })
    if (m.k === 'want' && !asked) {
      asked = true
      answer(() => elect(true), Bound.answerWithin)
    }
  }
  const take = (m: Envelope) => {
    if (signal.aborted || (m.to && m.to !== id)) return
    const from = m.id
    if (!leads) {
      if (m.k !== 'want' && m.k !== 'offer') answered()
      if (m.k === 'take') elect(true)
    } else if (m.k === 'want') {
      if (!known.has(from)) {
        known.add(from)
        locks!.request(nameOf(from), { signal }, async () => known.delete(from) && events.gone(from)).catch(() => 0)
      }
      if (m.visible && hiddenAt && now() - hiddenAt > Bound.hiddenTooLong) post({ k: 'take' }, from)
    }
    events.message(m, from)
  }

  if (name !== false && locks && globalThis.BroadcastChannel) {
    const seen = () => (hiddenAt = hidden() ? now() : 0)
    seen()
    listenTo('visibilitychange', seen, signal)
    // A lock of this tab's own: the leader waits for it, and has it when the tab is gone. So nobody may hear of the tab before it
    // has its lock: it would be taken for gone at once, and nothing more be told to it.
    locks.request(nameOf(id), { signal }, () => {
      channel = new BroadcastChannel(nameOf(''))
      channel.onmessage = ({ data }) => take(data)
      elect()
      events.follow()
      return new Promise((resolve) => signal.addEventListener('abort', resolve))
    }).catch(() => 0)
  } else {
    leads = true
    queueMicrotask(() => signal.aborted || events.lead())
  }
  signal.addEventListener('abort', () => {
    answer()
    resign?.()
    channel?.close()
  })

  return {
    get leads() {
      return leads
    },
    get others() {
      return known.size > 0
    },
    post,
  }
}
