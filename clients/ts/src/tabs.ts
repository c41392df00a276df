// One connection per browser. Tabs elect a leader with a Web Lock, which the browser frees when its tab goes, crashes
// included; the leader tells the others what it hears and reads over a BroadcastChannel.
//
//   follower ── want {feed: cursor} ──▶ leader     leader ── link, head, page ──▶ all
//   any tab  ── page (its own write) ──▶ all

import type { Link } from './ladder.js'
import { hidden } from './environment.js'

/** What tabs tell each other. `to` is the one tab that it is meant for; absent: all. */
export type TabMessage =
  /** There is a new leader: say what you want. */
  | { k: 'lead'; link: Link }
  | { k: 'link'; link: Link }
  /** A follower follows these, and is there. `all`: these and no others. `wake`: doubt your connection. */
  | { k: 'want'; feeds: Record<string, string>; items: string[]; wake?: boolean; visible: boolean }
  | { k: 'head'; feed: string; cursor: string | null; spread: number; first: boolean }
  | { k: 'page'; feed: string; page: unknown }
  | { k: 'denied'; feed: string; reason: string }
  /** The leader has been hidden for long, and browsers slow such tabs down: take over. */
  | { k: 'take' }

type Envelope = TabMessage & { id: string; to?: string }

export interface TabsEvents {
  lead(): void
  /** Another tab leads. */
  follow(): void
  message(m: TabMessage, from: string): void
  /** A tab that has sent `want` is gone. */
  gone(tab: string): void
}

/** How long a leader may stay silent when it is asked, in ms. A frozen tab does not answer. */
const answerWithin = 2_000
/** After so many ms hidden a leader gives way to a tab that is seen; browsers slow timers down after five minutes. */
const hiddenTooLong = 60_000

export class Tabs {
  leads = false
  readonly id = Math.random().toString(36).slice(2)
  readonly #name: string
  readonly #events: TabsEvents
  readonly #channel: BroadcastChannel | undefined
  readonly #locks: LockManager
  readonly #known = new Set<string>()
  readonly #end = new AbortController()
  #resign: (() => void) | undefined
  #hiddenAt = 0
  #answer: ReturnType<typeof setTimeout> | undefined

  /** Joins the tabs of that name. Where the browser has no locks, this tab is on its own and leads at once. */
  constructor(name: string | false, events: TabsEvents) {
    this.#name = 'doorbell:' + name
    this.#events = events
    const locks = (this.#locks = globalThis.navigator?.locks)
    if (name === false || !locks || !globalThis.BroadcastChannel) {
      this.leads = true
      queueMicrotask(() => this.#end.signal.aborted || events.lead())
      return
    }
    this.#channel = new BroadcastChannel(this.#name)
    this.#channel.onmessage = ({ data }: MessageEvent<Envelope>) => this.#take(data)
    globalThis.document?.addEventListener('visibilitychange', () => (this.#hiddenAt = hidden() ? Date.now() : 0), { signal: this.#end.signal })
    this.#hiddenAt = hidden() ? Date.now() : 0
    // A lock of this tab's own: the leader waits for it, and has it when the tab is gone.
    void locks.request(this.#lockOf(this.id), () => this.#forever()).catch(() => 0)
    this.#elect(false)
  }

  /** Others that have been heard. */
  get others(): boolean {
    return this.#known.size > 0
  }

  /** Tells all other tabs, or one. */
  post(m: TabMessage, to?: string): void {
    if (this.#end.signal.aborted) return
    this.#channel?.postMessage({ ...m, id: this.id, ...(to && { to }) })
    if (m.k === 'want') this.#answer ??= setTimeout(() => this.#elect(true), answerWithin)
  }

  close(): void {
    clearTimeout(this.#answer)
    this.#end.abort()
    this.#resign?.()
    this.#channel?.close()
  }

  #lockOf(tab: string): string {
    return this.#name + ':' + tab
  }

  #forever(): Promise<void> {
    return new Promise((resolve) => this.#end.signal.addEventListener('abort', () => resolve()))
  }

  #elect(steal: boolean): void {
    clearTimeout(this.#answer)
    this.#answer = undefined
    if (this.leads || this.#end.signal.aborted) return
    const mine = async () => {
      if (this.#end.signal.aborted || this.leads) return
      clearTimeout(this.#answer)
      this.leads = true
      this.#events.lead()
      await new Promise<void>((resolve) => (this.#resign = resolve))
    }
    const lost = () => {
      // Another tab took the lock, because this one was hidden or did not answer.
      if (!this.leads || this.#end.signal.aborted) return
      this.leads = false
      this.#known.clear()
      this.#events.follow()
      this.#elect(false)
    }
    this.#locks.request(this.#name, steal ? { steal } : { signal: this.#end.signal }, mine).catch(lost)
  }

  #take(m: Envelope): void {
    if (this.#end.signal.aborted || (m.to && m.to !== this.id)) return
    if (this.leads) {
      if (m.k === 'want' && !this.#known.has(m.id)) {
        this.#known.add(m.id)
        void this.#locks.request(this.#lockOf(m.id), { signal: this.#end.signal }, () => {
          if (this.#known.delete(m.id)) this.#events.gone(m.id)
        }).catch(() => 0)
      }
      if (m.k === 'want' && m.visible && this.#hiddenAt && Date.now() - this.#hiddenAt > hiddenTooLong) this.post({ k: 'take' }, m.id)
    } else if (m.k !== 'want' && m.k !== 'page') {
      clearTimeout(this.#answer)
      this.#answer = undefined
      if (m.k === 'take') this.#elect(true)
    }
    this.#events.message(m, m.id)
  }
}
