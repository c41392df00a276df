// Catching up: when a feed is read, which URL, whether the answer fits, and what to do when it doesn't.
//
//   signal, poll, wake ──▶ due ──▶ read (one at a time) ──▶ fits? ──▶ replica

import { compare, covers, nothing, parseCursor, type Cursor } from './cursor.js'
import { DoorbellError, asError } from './errors.js'
import { secondsToMs, type Http } from './http.js'
import { Backoff, PollPace, random } from './pace.js'
import { parsePage, type Page } from './page.js'
import type { Applied, Replica } from './replica.js'

/** How news of a feed comes. */
export type News =
  /** Not known yet. */
  | 'connecting'
  /** Heads are signalled. */
  | 'signals'
  /** Somebody else brings the pages: a long poll, or the tab that leads. */
  | 'pages'
  /** Nobody tells: the feed is polled. */
  | 'polling'

const resetsAllowed = 3
const resetsWithin = 10_000
const resetRest = 15_000

/** How long a tab waits for the page that the leading tab is reading. */
export const leaderGrace = 3_000
/** How long a new tab waits for the leading tab's state. */
const firstGrace = 1_000

export interface PullerOptions {
  name: string
  http: Http
  replica: Replica<unknown>
  /** Only the head is wanted, no items. */
  bare: boolean
  /** Items changed. `read`: the page came from the server, and may interest other tabs. */
  applied: (a: Applied, page: Page, read: boolean) => void
  /** Something of the status changed. */
  changed: () => void
}

export class Puller {
  readonly #o: PullerOptions
  readonly #r: Replica<unknown>

  // What is known of the head.
  #head: Cursor = nothing
  #exists: boolean | undefined // undefined: nobody said
  #unknown = false // the gateway doesn't know the head
  #floor: Cursor = nothing // what the next snapshot has to cover

  // How news come.
  #news: News = 'connecting'
  #degraded = false
  #remote = false

  // When the next read is. 0: none is due.
  #active = false
  #nowAt = 0
  #pullAt = 0
  #pollAt = 0
  #retryAt = 0
  #notBefore = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #busy: AbortController | undefined
  readonly #pace = new PollPace()
  readonly #backoff = new Backoff()
  #resets: number[] = []
  #snapshots = false // Doorbell-Pull

  /** Caught up once: what is there is whole. */
  loaded = false
  /** What is being got over; undefined when all is well. */
  error: DoorbellError | undefined
  /** The last moment at which the state was known to be the newest, in ms since 1970; 0: never. */
  freshAt = 0

  constructor(o: PullerOptions) {
    this.#o = o
    this.#r = o.replica
  }

  /** Heads are known to be ahead of what is here, or nothing was loaded yet. */
  get behind(): boolean {
    return !this.loaded || this.#r.from !== this.#r.have || compare(this.#head, this.#r.from) > 0
  }

  get polls(): boolean {
    return this.#news === 'polling' || (this.#news === 'pages' ? this.#o.bare : (this.#degraded || this.#unknown) && this.#news === 'signals')
  }

  /** How long to wait for what the leading tab reads, in ms. */
  #grace(ms: number): number {
    return this.#remote && !this.#o.bare ? ms : 0
  }

  /** What to subscribe with; in the middle of a walk nothing, as its cursor is no head. */
  get resumeFrom(): string {
    return this.#r.from.base ? '' : this.#r.from.text
  }

  /** Begins or goes on; what is here already is brought up to date. */
  start(): void {
    if (this.#active) return
    this.#active = true
    if (!this.#o.bare) this.#nowAt = Date.now() + this.#grace(firstGrace)
    this.#arm()
  }

  stop(): void {
    this.#active = false
    this.#busy?.abort()
    clearTimeout(this.#timer)
  }

  /** Reads now, whatever was planned: the machine woke, or the network is back. */
  wake(): void {
    if (!this.#active) return
    this.#busy?.abort()
    this.#backoff.reset()
    this.#retryAt = 0
    if (!this.#o.bare || this.polls) this.#nowAt = Date.now() + this.#grace(firstGrace)
    this.#arm()
  }

  /** News come another way. `remote`: from the leading tab. */
  link(news: News, degraded: boolean, remote: boolean): void {
    if (news === this.#news && degraded === this.#degraded && remote === this.#remote) return
    if (news === 'connecting' || news !== this.#news) this.#unknown = false
    if (this.#remote && !remote && this.#active && !this.#o.bare) this.#nowAt = Date.now() // this tab leads now
    this.#news = news
    this.#degraded = degraded
    this.#remote = remote
    this.#pollAt = 0
    this.#arm()
    this.#o.changed()
  }

  /**
   * The feed is at `text`: '' means that it doesn't exist, null that nobody knows. `first`: a subscription begins with it,
   * and it counts also if it is older.
   */
  head(text: string | null, spread: number, first: boolean): void {
    this.#unknown = text === null
    if (text !== null) {
      const head = parseCursor(text)
      const newer = compare(head, this.#head) > 0
      if (first || newer) this.#exists = text !== ''
      if (newer || text === '') this.#head = head
      const grace = this.#grace(leaderGrace)
      if (first && (head.text !== this.#r.from.text || !this.loaded)) this.#nowAt ||= Date.now() + grace
      else if (newer && compare(head, this.#r.from) > 0) this.#pullAt ||= Date.now() + random(spread) + grace
      if (first && head.text === this.#r.from.text && !this.#busy) {
        if (this.#nowAt && !this.#remote) this.#nowAt = 0
        this.#caughtUp()
      }
    }
    this.#arm()
    this.#o.changed()
  }

  /** The feed is at least there: after a write of this client. */
  expect(cursor: Cursor): void {
    if (compare(cursor, this.#head) > 0) this.#head = cursor
    this.#pullAt = Date.now()
    this.#arm()
  }

  /** A page that somebody else read. Taken only if it begins exactly where this client is, or is a newer snapshot. */
  offer(page: Page): void {
    const { from, have } = this.#r
    const fits = page.since.text
      ? page.since.text === from.text && compare(page.cursor, from) >= 0
      : !from.base && compare(page.cursor, from) > 0 && covers(page.cursor, this.#floor) && (from.text !== '' || compare(page.cursor, have) >= 0)
    if (!fits || (page.more && page.cursor.text === from.text)) {
      if (from.text && compare(page.cursor, from) > 0) this.expect(page.cursor)
      return
    }
    this.#take(page, false)
    if (page.more) this.#nowAt = Date.now()
    else this.#caughtUp()
    this.#arm()
  }

  /** Somebody else's read failed. */
  refused(e: DoorbellError): void {
    this.#failed(e, nothing)
    this.#arm()
    this.#o.changed()
  }

  /** What was kept from an earlier visit. */
  restore(page: Page): void {
    if (this.#r.have.text === '') this.#take(page, false)
  }

  #due(): number {
    const now = Date.now()
    let at = this.#retryAt || this.#nowAt
    if (!this.#retryAt) {
      const earliest = (t: number) => (at = at ? Math.min(at, t) : t)
      if (compare(this.#head, this.#r.from) > 0 && (this.loaded || this.#r.from.text)) earliest((this.#pullAt ||= now))
      if (this.polls && !this.#remote) earliest((this.#pollAt ||= now + this.#pace.first()))
    }
    return at && Math.max(at, this.#notBefore)
  }

  #arm(): void {
    clearTimeout(this.#timer)
    if (!this.#active || this.#busy) return
    const at = this.#due()
    if (at) this.#timer = setTimeout(() => void this.#catchUp(), Math.max(0, at - Date.now()))
  }

  async #catchUp(): Promise<void> {
    const busy = (this.#busy = new AbortController())
    this.#nowAt = this.#pullAt = this.#retryAt = this.#pollAt = 0
    let target = nothing
    try {
      const { from } = this.#r
      if (from.text && this.#head.epoch > from.epoch && !this.#o.bare) {
        this.#startOver(this.#head) // no delta leads there, so ask for none
        if (this.#notBefore > Date.now()) return
      }
      target = this.#floor
      if (compare(this.#head, this.#r.from) > 0 && compare(this.#head, target) > 0) target = this.#head
      for (let more = true; more && this.#active; ) more = await this.#read(target, busy.signal)
    } catch (e) {
      if (!busy.signal.aborted) this.#failed(asError(e), target)
    } finally {
      this.#busy = undefined
      this.#arm()
      this.#o.changed()
    }
  }

  /** Reads one page; tells whether more follows. */
  async #read(target: Cursor, signal: AbortSignal): Promise<boolean> {
    const { name, http, bare } = this.#o
    const asked = this.#r.from
    if (bare) return this.#readHead(signal)
    const whole = !asked.text || (this.#snapshots && !asked.base && target.text !== '' && target.epoch === asked.epoch)
    const query = [whole ? '' : 'since=' + asked.text, target.text && 'at_least=' + target.text].filter(Boolean).join('&')
    const { header, body } = await http.read(name, `/v1/feeds/${name}${whole ? '' : '/changes'}${query && '?' + query}`, signal)
    const page = parsePage(body)
    if (this.#r.from !== asked) {
      // Something else came meanwhile, and that was for nothing.
      if (this.behind) this.#nowAt = Date.now()
      return false
    }
    checkFit(page, whole ? nothing : asked, target)
    this.#snapshots = header.get('Doorbell-Pull') === 'snapshot' && !page.more
    if (whole && asked.text && page.more) return true // too large by now for one answer: by delta, then
    const news = page.cursor.text !== asked.text
    if (!whole || compare(page.cursor, asked) > 0) this.#take(page, true)
    this.error = undefined
    this.#backoff.reset()
    if (page.more) return true
    this.#pace.answered(news, secondsToMs(header.get('Doorbell-Poll-After')))
    if (compare(this.#head, this.#r.from) <= 0) this.#nowAt = 0
    this.#caughtUp()
    return false
  }

  /** What was signalled is all there is to know; what was not is asked for. */
  async #readHead(signal: AbortSignal): Promise<boolean> {
    const { name, http } = this.#o
    const { from } = this.#r
    let head = this.#head
    if (compare(head, from) <= 0 && this.polls) {
      const { body } = await http.read(name, '/v1/heads?feed=' + name, signal)
      const text = (body as { heads?: Record<string, string | null> }).heads?.[name]
      head = text == null ? from : parseCursor(text)
      this.#pace.answered(head.text !== from.text, 0)
    }
    if (head.text !== from.text || !this.loaded) this.#take({ since: nothing, cursor: head, more: false, trimmed: 0, changes: [] }, true)
    this.#nowAt = 0
    this.#caughtUp()
    return false
  }

  #take(page: Page, read: boolean): void {
    const applied = this.#r.apply(page)
    this.#floor = nothing
    this.#exists = true
    if (applied) this.#o.applied(applied, page, read)
  }

  #caughtUp(): void {
    this.error = undefined
    if (this.#r.from !== this.#r.have) return
    this.loaded = true
    this.#retryAt = 0
    if (compare(this.#head, this.#r.from) <= 0) {
      this.#pullAt = 0
      this.freshAt = Date.now()
    }
    if (this.#news === 'pages' || this.#remote) this.#nowAt = 0
    if (this.polls && !this.#remote) this.#pollAt = Date.now() + this.#pace.next()
    this.#o.changed()
  }

  /** Plans what to do about a failure. */
  #failed(e: DoorbellError, target: Cursor): void {
    if (e.status === 410) return this.#reset(e)
    if (e.code === 'no_feed') {
      if (!target.text && !this.#exists) {
        const a = this.#r.clear()
        if (a) this.#o.applied(a, { since: nothing, cursor: nothing, more: false, trimmed: 0, changes: [] }, false)
        this.#pace.answered(false, 0)
        return this.#caughtUp()
      }
      this.#floor = nothing // a replica or a cache that is behind, or a reset's word that doesn't hold
    }
    this.error = e
    this.#pace.failed()
    // What trying again won't cure is tried again rarely: rights and configurations change.
    const final = e.status >= 400 && e.status < 500 && ![404, 408, 409, 425, 429].includes(e.status)
    const delay = final ? 30_000 + random(30_000) : this.polls ? this.#pace.next() : this.#backoff.next()
    this.#retryAt = Date.now() + Math.max(delay, e.retryAfter && e.retryAfter + random(e.retryAfter / 2))
    if (e.retryAfter) this.#notBefore = Date.now() + e.retryAfter
  }

  /** 410: there is no way on from here. Its body names the snapshot. */
  #reset(e: DoorbellError): void {
    let floor = nothing
    try {
      floor = parseCursor(new URL(e.snapshot, 'http://x').searchParams.get('at_least') ?? '')
    } catch {
      // then whatever snapshot there is
    }
    const { from } = this.#r
    // The primary says that this client was ahead of the feed: what was signalled up to there is history that is no more.
    if (floor.text && compare(floor, from) < 0 && compare(this.#head, from) <= 0) this.#head = floor
    this.#startOver(floor)
    this.#nowAt = Date.now()
  }

  #startOver(floor: Cursor): void {
    this.#r.startOver()
    this.#floor = floor
    const now = Date.now()
    this.#resets = [...this.#resets.filter((t) => now - t < resetsWithin), now]
    if (this.#resets.length < resetsAllowed) return
    this.#resets = []
    this.error = new DoorbellError('reset_loop', 'the feed is reset again and again')
    this.#retryAt = this.#notBefore = now + resetRest + random(resetRest)
  }
}

/** Throws why a page must not be applied: some cache gave another's, or an old one, or a proxy dropped the query. */
function checkFit(page: Page, asked: Cursor, target: Cursor): void {
  let why = ''
  if (page.since.text !== asked.text) {
    why = `asked for ${asked.text ? 'the changes since ' + asked.text : 'a snapshot'}, got ${page.since.text ? 'those since ' + page.since.text : 'a snapshot'}`
  } else if (asked.text && (page.cursor.epoch !== asked.epoch || page.cursor.seq < asked.seq)) {
    why = `the changes since ${asked.text} end at ${page.cursor.text}`
  } else if (page.more && page.cursor.text === asked.text) {
    why = `the page after ${asked.text} leads nowhere`
  } else if ((!asked.text || !page.more) && !covers(page.cursor, target)) {
    why = `asked for ${target.text} at least, got ${page.cursor.text}`
  }
  if (why) throw new DoorbellError('wrong_answer', why + ': does a proxy or a cache on the way ignore the query string?')
}
