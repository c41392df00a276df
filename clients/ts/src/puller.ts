// Catching up: when a feed is read, which URL, whether the answer fits, and what to do when it doesn't.
//
//   signal, poll, wake ──▶ due ──▶ read (one at a time) ──▶ fits? ──▶ replica

import { checkFit, fits, type Answer, type Read } from './answer.js'
import { checkCursor, epochOf, newer, next, seqOf, walks, type Cursor } from './cursor.js'
import { offline } from './environment.js'
import { DoorbellError, asError } from './errors.js'
import { unlinked, type Link } from './ladder.js'
import { createAlarm, createBackoff, createPollPace, now, random } from './pace.js'
import type { Page } from './page.js'
import type { Applied, Replica } from './replica.js'
import type { FeedStatus } from './types.js'

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  /** So many heads that were signalled and not reached are remembered; when there would be more, only the newest. */
  stepsRemembered = 16,
  /** So many steps are asked for at once, and so often in a row. */
  stepsAtOnce = 16,
  leaps = 3,
  /** Who doesn't know what others were told goes by steps when it is so many seqs behind at most: so far they lead. */
  climb = 1 + leaps * stepsAtOnce,
  resetsAllowed = 3,
  resetsWithin = 10_000,
  resetRest = 15_000,
  /** How long a tab waits for the page that the leading tab is reading. */
  leaderGrace = 3_000,
  /** How long a new tab waits for the leading tab's state. */
  firstGrace = 1_000,
}

/** What a Doorbell tells whoever follows a feed. */
export interface Follower {
  /** Started, and not stopped. */
  readonly active: boolean
  stop(): void
  /** Reads now, whatever was planned: the machine woke, or the network is back. */
  wake(): void
  /** News come another way. `led`: from the leading tab. */
  link(link: Link, led: boolean): void
  /**
   * The feed is at `to`: '' means that it doesn't exist, null that nobody knows. `first`: a subscription begins with it,
   * and it counts also if it is older. `spread`: how long to wait at most before it is read, in ms.
   */
  head(to: Cursor | null, spread?: number, first?: boolean): void
  /** The gateway doesn't let this client follow the feed, until it is subscribed or connected anew. */
  deny(reason: string): void
}

export interface PullerOptions {
  replica: Replica
  read: Read
  /** Items changed. `read`: the page came from the server, and may interest other tabs. */
  applied: (a: Applied, page: Page, read: boolean) => void
  /** The status is another one. */
  changed: (status: FeedStatus) => void
}

export interface Puller extends Follower {
  /** Caught up once: what is there is whole. */
  readonly loaded: boolean
  /** The same object until something changes. */
  readonly status: FeedStatus
  /** Heads are known to be ahead of what is here, or nothing was loaded yet. */
  behind(): boolean
  /** Nobody tells, or not surely: the feed is polled. */
  polls(): boolean
  /** Begins or goes on; what is here already is brought up to date. */
  start(): void
  /** The feed is at least there: after a write of this client. */
  expect(to: Cursor): void
  /** A page that somebody else read. Taken only if it begins exactly where this client is, or is a newer snapshot. */
  offer(page: Page): void
  /** Somebody else's read failed. */
  refused(e: DoorbellError): void
  /** What was kept from an earlier visit. */
  restore(page: Page): void
}

export const createPuller = ({ replica, read, applied, changed: told }: PullerOptions): Puller => {
  // What is known of the head.
  let heads: Cursor[] = [''] // signalled and not reached, in order; the last is the newest, reached or not. Never changed in place
  let gap: Cursor = '' // up to here others may have been told of heads that are not known
  let exists: boolean | undefined // undefined: nobody said
  let unknown = false // the gateway doesn't know the head
  let floor: Cursor = '' // what the next snapshot has to cover

  // How news come.
  let link = unlinked
  let denied: DoorbellError | undefined
  let remote = false // and the leading tab reads

  // When the next read is. 0: none is due.
  let active = false
  let dueAt = 0
  let retryAt = 0 // but not before: something failed
  let notBefore = 0 // nor before: the server said so
  let busy: AbortController | undefined
  let resets: number[] = []
  let small: boolean | undefined // so that a snapshot is pulled
  const timer = createAlarm()
  const pace = createPollPace()
  const backoff = createBackoff()

  let loaded = false
  let error: DoorbellError | undefined
  let freshAt = 0 // when the state was last known to be the newest
  let status: FeedStatus

  const head = () => heads.at(-1)!
  const ahead = (c: Cursor = head()) => newer(c, replica.from)
  const behind = () => !loaded || replica.from !== replica.have || ahead()
  const polls = () => link.transport === 'polling' || link.degraded || unknown
  /** In so many ms, if the leading tab has not brought it by then. */
  const unlessLed = (ms: number) => now() + (remote ? ms : 0)

  const changed = () => {
    const { transport } = link
    const state = !active ? 'idle'
      : denied || error?.status === 401 || error?.status === 403 ? 'denied'
      : error?.code === 'network' || (offline() && polls()) ? 'offline'
      : behind() || transport === 'none' ? 'catching-up'
      : polls() ? 'polling'
      : 'live'
    const next: FeedStatus = { state, transport, staleSince: state === 'live' ? 0 : freshAt, error: denied ?? error ?? link.error }
    if ((Object.keys(next) as (keyof FeedStatus)[]).every((k) => next[k] === status?.[k])) return
    status = next
    told(next)
  }

  /** A newer head. `follows`: there was none between it and the last. */
  const remember = (to: Cursor, follows: boolean) => {
    heads = [...heads.filter(ahead), to]
    if (!follows || heads.length > Bound.stepsRemembered || epochOf(heads[0]!) !== epochOf(to)) heads = [gap = to]
  }

  /** Tells how it is, and plans the next read. */
  const arm = () => {
    changed()
    timer()
    if (!active || busy) return
    if (ahead() && (loaded || replica.from)) dueAt ||= now()
    else if (polls() && !remote) dueAt ||= now() + pace.first()
    if (dueAt) timer(catchUp, Math.max(dueAt, retryAt, notBefore) - now())
  }

  const catchUp = async () => {
    const { signal } = (busy = new AbortController())
    dueAt = retryAt = 0
    let target = floor
    try {
      let known = head()
      const climbs = ahead() && !error && link.transport !== 'long-poll'
      let leaps = newer(gap, replica.from) && seqOf(known) - seqOf(replica.from) > Bound.climb ? 0 : 1 + Bound.leaps
      let single = false // changes come one by one
      let more = false
      do {
        if (dueAt <= now()) known = head()
        if (!more && replica.from && epochOf(known) > epochOf(replica.from)) {
          startOver(known) // no delta leads there, so ask for none
          if (notBefore > now()) return
        }
        const { from } = replica
        const deltas = climbs && from && !walks(from) && !small && !polls()
        const steps = deltas && leaps-- > 0
        if (!more && newer(known, target || from)) {
          // Where steps don't lead, a milestone does, which all who are far behind share, and steps from there.
          const milestone = next(known, -seqOf(known) % Bound.stepsAtOnce)
          target = steps && leaps === Bound.leaps ? next(from) : deltas && newer(milestone, from) ? milestone : known
          if (!steps) leaps = Bound.leaps
        }
        const asked: Parameters<typeof take>[] = []
        // One step goes first: where nothing caches, its answer is the newest. Others may have been wherever the next begin.
        let at = from
        do {
          const since = small && target ? '' : at
          const to = steps ? next(at) : target
          const answer = read(since, to, signal)
          answer.catch(() => 0) // it may not be needed
          asked.push([at, since, to, answer])
          at = single ? to : (heads.find((h) => newer(h, at)) ?? known)
        } while (steps && leaps < Bound.leaps && asked.length < Bound.stepsAtOnce && newer(known, at))
        more = single = false
        for (const question of asked) {
          more ||= await take(...question)
          single ||= replica.from === question[2]
        }
        if (more) leaps = 0
        // Short of what was known when it was asked: a cache gave an old step.
      } while (replica.from && (more || newer(known, replica.from)))
    } catch (e) {
      if (!signal.aborted) failed(asError(e), target)
    } finally {
      busy = undefined
      arm()
    }
  }

  /** Takes an answer if it is needed; tells whether more follows. */
  const take = async (at: Cursor, since: Cursor, target: Cursor, answer: Promise<Answer>): Promise<boolean> => {
    if (replica.from !== at) return false // another answer led over it
    const { page, small: tiny, pollAfter } = await answer
    const { cursor, more } = page
    if (replica.from !== at) return false // something else came meanwhile
    checkFit(page, since, target)
    small = tiny && !more
    // A snapshot that was pulled may be too large by now for one answer: by delta, then.
    if (since === at || !more) apply(page, true)
    backoff.reset()
    error = undefined
    if (!more) {
      pace.answered(cursor !== at, pollAfter)
      caughtUp()
    }
    return more
  }

  const apply = (page: Page, read: boolean) => {
    const a = replica.apply(page)
    floor = ''
    exists = true
    if (a) applied(a, page, read)
  }

  const caughtUp = () => {
    error = undefined
    if (replica.from !== replica.have) return
    loaded = true
    retryAt = 0
    if (!ahead()) {
      freshAt = now()
      dueAt = polls() && !remote ? freshAt + pace.next() : 0
    }
    changed()
  }

  /** Plans what to do about a failure. */
  const failed = (e: DoorbellError, target: Cursor) => {
    if (e.status === 410) {
      const to = /at_least=(\w{7}-\d+)/.exec(e.snapshot)?.[1] ?? ''
      // The primary says that this client was ahead of the feed: what was signalled up to there is history that is no more.
      if (to && newer(replica.from, to) && !ahead()) heads = [to]
      return startOver(to)
    }
    if (e.code === 'no_feed') {
      if (!target && !exists) {
        if (replica.have) {
          apply({ since: '', cursor: '', more: false, trimmed: 0, changes: [] }, false)
          exists = undefined
        }
        pace.answered(false, 0)
        return caughtUp()
      }
      floor = '' // a replica or a cache that is behind, or a reset's word that doesn't hold
    }
    error = e
    pace.failed()
    // What trying again won't cure is tried again rarely: rights and configurations change.
    const final = /^4(?!0[489]|2[59])/.test(e.status + '')
    const delay = final ? 30_000 + random(30_000) : polls() ? pace.next() : backoff.next()
    dueAt = retryAt = now() + Math.max(delay, e.retryAfter + random(e.retryAfter / 2))
    notBefore = now() + e.retryAfter
  }

  /** There is no way on from here: the next page has to be a snapshot. What is shown stays until then. */
  const startOver = (to: Cursor) => {
    replica.from = ''
    floor = to
    const t = (dueAt = now())
    resets = [...resets.filter((at) => t - at < Bound.resetsWithin), t]
    if (resets.length < Bound.resetsAllowed) return
    resets = []
    error = new DoorbellError('reset_loop', 'too many resets')
    retryAt = notBefore = t + Bound.resetRest + random(Bound.resetRest)
  }

  const puller: Puller = {
    get active() {
      return active
    },
    get loaded() {
      return loaded
    },
    get status() {
      return status
    },
    behind,
    polls,
    start() {
      if (active) return
      active = true
      puller.wake()
    },
    stop() {
      active = false
      busy?.abort()
      timer()
      changed()
    },
    wake() {
      if (!active) return
      busy?.abort()
      backoff.reset()
      retryAt = 0
      dueAt = unlessLed(Bound.firstGrace)
      arm()
    },
    link(to, led) {
      if (to.transport !== link.transport) {
        unknown = false
        denied = undefined
      }
      if (remote && !led) dueAt = now() // this tab leads now
      link = to
      remote = led
      arm()
    },
    head(to, spread = 0, first = false) {
      unknown = to === null
      if (first) denied = undefined
      if (to !== null) {
        const { from } = replica
        const news = newer(checkCursor(to), head())
        if (first || news) exists = to !== ''
        const planned = dueAt && ahead()
        if (news || !to) remember(to, !first)
        if (first ? to !== from || !loaded : news && ahead(to) && !planned) {
          const at = unlessLed(Bound.leaderGrace) + random(spread)
          dueAt = Math.min(dueAt || at, at)
        }
        if (first && to === from && !busy) caughtUp()
      }
      arm()
    },
    expect(to) {
      if (newer(to, head())) remember(to, true)
      dueAt = now()
      arm()
    },
    offer(page) {
      const { since, cursor, more } = page
      const { from, have } = replica
      const follows = since ? since === from : !walks(from) && ahead(cursor) && (from || !newer(have, cursor))
      if (follows && fits(page, since, floor)) {
        apply(page, false)
        if (more) dueAt = now()
        else caughtUp()
        arm()
      } else if (from && ahead(cursor)) puller.expect(cursor)
    },
    deny(reason) {
      denied = new DoorbellError(reason, reason, 403)
      changed()
    },
    refused(e) {
      failed(e, '')
      arm()
    },
    restore(page) {
      if (!replica.have) apply(page, false)
    },
  }
  changed()
  return puller
}
