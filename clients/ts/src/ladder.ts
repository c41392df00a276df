// Which transport is in use: WebSocket, else SSE, else long poll, else the feeds poll by themselves. Falls at once, and
// climbs back by itself.
//
//   try 0 ─ down ─▶ try 1 ─ down ─▶ try 2 ─ down ─▶ polling, and from the top after a backoff
//     └─ up: in use; what was in use before is closed; below the top, try again from time to time

import { silent, type DoorbellError } from './errors.js'
import type { Http } from './http.js'
import type { Line, LineEvents, Open, Sink } from './line.js'
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

/** A connection that lasted so long is no reason to doubt its transport. In ms. */
const stableAfter = 10_000
/** So many short-lived connections in a row, and the transport rests: something on the way kills it. */
const strikesAllowed = 3
const restAtLeast = 30_000
const restAtMost = 300_000
/** How long a transport may take to work, in ms; longer and longer where all of them fail, for slow networks. */
const patienceAtLeast = 2_500
const patienceAtMost = 10_000
/** Between attempts to climb, in ms. */
const climbAtLeast = 4_000
const climbAtMost = 20_000

export function createLadder(http: Http, sink: Sink, rungs: readonly Rung[], told: (link: Link) => void): Ladder {
  let link = unlinked
  let wanted = false
  let closed = false
  let barred = false // the gateway refused this client for good
  let line: Line | undefined // in use
  let at = rungs.length // its rung; the number of rungs when there is none
  let attempt: Line | undefined
  let patience = patienceAtLeast
  let climb = climbAtLeast
  const timer = createAlarm()
  const backoff = createBackoff()
  const strikes: number[] = []
  const restUntil: number[] = []

  const say = (transport: Transport, error?: DoorbellError, degraded = false) => told((link = { transport, degraded, error }))

  const giveUp = () => {
    attempt?.close()
    attempt = undefined
  }
  const hangUp = () => {
    wanted = false
    timer()
    giveUp()
    line?.close()
    line = undefined
    at = rungs.length
  }
  const bar = (e: DoorbellError) => {
    barred = true
    hangUp()
    wanted = true
    say('polling', e)
  }
  const refusedForGood = ({ status }: DoorbellError) => status === 4003 || status === 4009
  /** From the top, after a backoff, but not before the server allows it. */
  const tryLater = (e?: DoorbellError) => timer(tryAll, Math.max(backoff.next(), e?.retryAfter ?? 0))
  const planClimb = () => {
    if (!at) return
    timer(tryAll, climb / 2 + random(climb / 2))
    climb = Math.min(climb * 1.5, climbAtMost)
  }

  const tryAll = () => tryFrom(0)
  /** Tries one rung after the other, down to `to` exclusive: by default the one in use. */
  const tryFrom = (rung: number, to = at, error?: DoorbellError) => {
    timer()
    giveUp()
    while (rung < to && (restUntil[rung] ?? 0) > now()) rung++
    if (rung < to) return open(rung, to)
    if (line) return planClimb()
    patience = Math.min(patience * 1.5, patienceAtMost)
    if (link.transport !== 'polling' || error) say('polling', error ?? link.error)
    tryLater(error)
  }

  const open = (rung: number, to: number) => {
    const [transport, opens] = rungs[rung]!
    let upAt = 0
    const late = setTimeout(() => events.down(silent()), patience)
    const events: LineEvents = {
      up() {
        if (upAt || attempt !== mine) return
        upAt = now()
        clearTimeout(late)
        line?.close()
        line = mine
        at = rung
        attempt = undefined
        patience = patienceAtLeast
        say(transport)
        mine.update()
        planClimb()
      },
      down(e) {
        clearTimeout(late)
        mine.close()
        if (attempt === mine) {
          if (refusedForGood(e)) bar(e)
          else tryFrom(rung + 1, to, e)
        } else if (line === mine) lost(rung, now() - upAt, e)
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
    line = undefined
    at = rungs.length
    say('polling', e)
    if (refusedForGood(e)) return bar(e)
    if (lasted >= stableAfter) {
      strikes[rung] = 0
      backoff.reset()
      climb = climbAtLeast
    } else if (e.status !== 4001) {
      const n = (strikes[rung] = (strikes[rung] ?? 0) + 1)
      if (n >= strikesAllowed) {
        restUntil[rung] = now() + Math.min(restAtLeast * 2 ** (n - strikesAllowed), restAtMost)
        return tryFrom(rung + 1)
      }
    }
    giveUp()
    tryLater(e)
  }

  return {
    update() {
      if (closed) return
      const any = Object.keys(sink.cursors()).length > 0
      if (any && !wanted) {
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
      climb = climbAtLeast
      line?.check()
      if (wanted && !attempt && at && !barred) tryAll()
    },
    close() {
      closed = true
      hangUp()
    },
  }
}
