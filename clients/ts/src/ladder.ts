// Which transport is in use: WebSocket, else SSE, else long poll, else the feeds poll by themselves. Falls at once, and
// climbs back by itself.
//
//   try 0 ─ down ─▶ try 1 ─ down ─▶ try 2 ─ down ─▶ polling, and from the top after a backoff
//     └─ up: in use; what was in use before is closed; below the top, try again from time to time

import { silent, type DoorbellError } from './errors.js'
import type { Http } from './http.js'
import { namesOf, type Line, type LineEvents, type Open, type Sink } from './line.js'
import { createAlarm, createBackoff, now, random } from './pace.js'

/** What brings the news. `none`: nothing yet. */
export type Transport = 'none' | 'websocket' | 'sse' | 'long-poll' | 'polling'

/** How this client is connected. */
export interface Link {
  transport: Transport
  /** The gateway has lost the bus: feeds are polled as well. */
  degraded: boolean
  /** Why it is not better; undefined when all is well. */
  error?: DoorbellError | undefined
}

/** How a client is connected that follows nothing. */
export const unlinked: Link = { transport: 'none', degraded: false }

export type Rung = readonly [transport: Transport, open: Open]

export interface Ladder {
  /** The set of feeds changed. Connects with the first one, and hangs up after the last. */
  update(): void
  /** The machine woke, the network is back, or somebody looks: what there is is checked, and what is missing is tried now. */
  wake(): void
  close(): void
}

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  /** A connection that lasted so long is no reason to doubt its transport. In ms. */
  stableAfter = 10_000,
  /** So many short-lived connections in a row, and the transport rests: something on the way kills it. */
  strikesAllowed = 3,
  restAtLeast = 30_000,
  restAtMost = 300_000,
  /** How long a transport may take to work, in ms; longer and longer where all of them fail, for slow networks. */
  patienceAtLeast = 2_500,
  patienceAtMost = 10_000,
  /** Between attempts to climb, in ms. */
  climbAtLeast = 4_000,
  climbAtMost = 20_000,
}

export const createLadder = (http: Http, sink: Sink, rungs: readonly Rung[], told: (link: Link) => void): Ladder => {
  let link = unlinked
  let wanted = false
  let over = false // closed, or the gateway refused this client for good
  let line: Line | undefined // in use
  let at = rungs.length // its rung; the number of rungs when there is none
  let attempt: Line | undefined
  let patience = Bound.patienceAtLeast
  let climb = Bound.climbAtLeast
  const timer = createAlarm()
  const backoff = createBackoff()
  const strikes = rungs.map(() => 0)
  const restUntil: number[] = []

  const say = (transport: Transport, error?: DoorbellError, degraded = false) => told((link = { transport, degraded, error }))

  const giveUp = () => {
    attempt?.close()
    attempt = undefined
  }
  const drop = () => {
    line?.close()
    line = undefined
    at = rungs.length
  }
  const hangUp = () => {
    wanted = false
    timer()
    giveUp()
    drop()
  }
  /** From the top, after a backoff, but not before the server allows it. */
  const tryLater = (e?: DoorbellError) => timer(tryAll, Math.max(backoff.next(), e?.retryAfter ?? 0))
  const planClimb = () => {
    if (!at) return
    timer(tryAll, climb / 2 + random(climb / 2))
    climb = Math.min(climb * 1.5, Bound.climbAtMost)
  }

  const tryAll = () => tryFrom(0)
  /** Tries one rung after the other, down to `to` exclusive: by default the one in use. */
  const tryFrom = (rung: number, to = at, error?: DoorbellError) => {
    timer()
    giveUp()
    while (rung < to && restUntil[rung]! > now()) rung++
    if (rung < to) return open(rung, to)
    if (line) return planClimb()
    patience = Math.min(patience * 1.5, Bound.patienceAtMost)
    if (link.transport !== 'polling' || error) say('polling', error ?? link.error)
    tryLater(error)
  }

  const open = (rung: number, to: number) => {
    const [transport, opens] = rungs[rung]!
    let upAt = 0
    const late = createAlarm()
    late(() => events.down(silent()), patience)
    const events: LineEvents = {
      up() {
        if (attempt !== mine) return
        upAt = now()
        late()
        line?.close()
        line = mine
        at = rung
        attempt = undefined
        patience = Bound.patienceAtLeast
        say(transport)
        mine.update()
        planClimb()
      },
      down(e) {
        late()
        mine.close()
        const failed = attempt === mine
        if (!failed && line !== mine) return
        if (e.status === 4003 || e.status === 4009) {
          over = true
          hangUp()
          say('polling', e)
        } else if (failed) tryFrom(rung + 1, to, e)
        else lost(rung, now() - upAt, e)
      },
      degraded(yes) {
        if (line === mine) say(transport, undefined, yes)
      },
      goaway(ms) {
        // The next one is opened before this one is left.
        if (line === mine) timer(() => tryFrom(0, rung + 1), random(ms))
      },
    }
    const mine = opens(http, sink, events)
    attempt = mine
  }

  /** The line in use ended after so many ms. */
  const lost = (rung: number, lasted: number, e: DoorbellError) => {
    drop()
    say('polling', e)
    if (lasted >= Bound.stableAfter) {
      strikes[rung] = 0
      backoff.reset()
      climb = Bound.climbAtLeast
    } else if (e.status !== 4001) {
      const n = ++strikes[rung]!
      if (n >= Bound.strikesAllowed) {
        restUntil[rung] = now() + Math.min(Bound.restAtLeast * 2 ** (n - Bound.strikesAllowed), Bound.restAtMost)
        return tryFrom(rung + 1)
      }
    }
    giveUp()
    tryLater(e)
  }

  return {
    update() {
      const any = namesOf(sink.cursors())
      if (any && !wanted && !over) {
        wanted = true
        tryAll()
      } else if (!any && wanted) {
        hangUp()
        say('none')
      }
      line?.update()
      attempt?.update()
    },
    wake() {
      backoff.reset()
      climb = Bound.climbAtLeast
      line?.check()
      if (wanted && !attempt && at) tryAll()
    },
    close() {
      over = true
      hangUp()
    },
  }
}
