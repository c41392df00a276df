// Which transport is in use: WebSocket, else SSE, else long poll, else the feeds poll by themselves. Falls at once, and
// climbs back by itself.
//
//   try 0 ─ down ─▶ try 1 ─ down ─▶ try 2 ─ down ─▶ polling, and from the top after a backoff
//     └─ up: in use; what was in use before is closed; below the top, try again from time to time

import { DoorbellError } from './errors.js'
import type { Http } from './http.js'
import type { Line, Open, Sink } from './line.js'
import { Backoff, random } from './pace.js'

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

export interface Rung {
  transport: Transport
  open: Open
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

export class Ladder {
  readonly #http: Http
  readonly #sink: Sink
  readonly #rungs: readonly Rung[]
  readonly #told: (link: Link) => void

  link: Link = { transport: 'none', degraded: false }
  #wanted = false
  #closed = false
  #barred = false // the gateway refused this client for good
  #line: Line | undefined // in use
  #at = 0 // its rung; the number of rungs when there is none
  #attempt: Line | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #patience = patienceAtLeast
  #climb = climbAtLeast
  readonly #backoff = new Backoff()
  readonly #strikes: number[] = []
  readonly #restUntil: number[] = []

  constructor(http: Http, sink: Sink, rungs: readonly Rung[], told: (link: Link) => void) {
    this.#http = http
    this.#sink = sink
    this.#rungs = rungs
    this.#at = rungs.length
    this.#told = told
  }

  /** The set of feeds changed. Connects with the first one, and hangs up after the last. */
  update(): void {
    if (this.#closed) return
    const wanted = Object.keys(this.#sink.cursors()).length > 0
    if (wanted && !this.#wanted) {
      this.#wanted = true
      this.#try(0)
    } else if (!wanted && this.#wanted) {
      this.#hangUp()
      this.#say('none')
    }
    this.#line?.update()
    this.#attempt?.update()
  }

  /** The machine woke, the network is back, or somebody looks: what there is is checked, and what is missing is tried now. */
  wake(): void {
    this.#backoff.reset()
    this.#climb = climbAtLeast
    this.#line?.check()
    if (this.#wanted && !this.#attempt && this.#at > 0 && !this.#barred) this.#try(0)
  }

  close(): void {
    this.#closed = true
    this.#hangUp()
  }

  #hangUp(): void {
    this.#wanted = false
    clearTimeout(this.#timer)
    this.#attempt?.close()
    this.#line?.close()
    this.#attempt = this.#line = undefined
    this.#at = this.#rungs.length
  }

  #say(transport: Transport, error?: DoorbellError, degraded = false): void {
    this.link = { transport, degraded, error }
    this.#told(this.link)
  }

  #later(ms: number, from = 0, to?: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#try(from, to), ms)
  }

  /** Tries one rung after the other, down to `to` exclusive: by default the one in use. */
  #try(rung: number, to = this.#at, error?: DoorbellError): void {
    clearTimeout(this.#timer)
    this.#attempt?.close()
    this.#attempt = undefined
    while (rung < to && (this.#restUntil[rung] ?? 0) > Date.now()) rung++
    if (rung < to) return this.#open(rung, to)
    if (this.#line) return this.#planClimb()
    this.#patience = Math.min(this.#patience * 1.5, patienceAtMost)
    if (this.link.transport !== 'polling' || error) this.#say('polling', error ?? this.link.error)
    this.#later(Math.max(this.#backoff.next(), error?.retryAfter ?? 0))
  }

  #planClimb(): void {
    if (this.#at === 0) return
    this.#later(this.#climb / 2 + random(this.#climb / 2))
    this.#climb = Math.min(this.#climb * 1.5, climbAtMost)
  }

  #open(rung: number, to: number): void {
    const { transport, open } = this.#rungs[rung]!
    let upAt = 0
    const late = setTimeout(() => mine.down(new DoorbellError('silent', transport + ' brings nothing')), this.#patience)
    const mine = {
      up: () => {
        if (upAt || this.#attempt !== line) return
        upAt = Date.now()
        clearTimeout(late)
        this.#line?.close()
        this.#line = line
        this.#at = rung
        this.#attempt = undefined
        this.#patience = patienceAtLeast
        this.#say(transport)
        line.update()
        this.#planClimb()
      },
      down: (e: DoorbellError) => {
        clearTimeout(late)
        if (this.#attempt === line) {
          if (e.status === 4003 || e.status === 4009) return this.#bar(e)
          this.#try(rung + 1, to, e)
        } else if (this.#line === line) {
          this.#lost(rung, Date.now() - upAt, e)
        }
        line.close()
      },
      degraded: (yes: boolean) => {
        if (this.#line === line) this.#say(transport, undefined, yes)
      },
      goaway: (ms: number) => {
        // The next one is opened before this one is left.
        if (this.#line === line) this.#later(random(ms), 0, rung + 1)
      },
    }
    const line: Line = open(this.#http, this.#sink, mine)
    this.#attempt = line
  }

  /** The line in use ended after so many ms. */
  #lost(rung: number, lasted: number, e: DoorbellError): void {
    this.#line = undefined
    this.#at = this.#rungs.length
    this.#say('polling', e)
    if (e.status === 4003 || e.status === 4009) return this.#bar(e)
    if (lasted >= stableAfter) {
      this.#strikes[rung] = 0
      this.#backoff.reset()
      this.#climb = climbAtLeast
    } else if (e.status !== 4001) {
      const strikes = (this.#strikes[rung] = (this.#strikes[rung] ?? 0) + 1)
      if (strikes >= strikesAllowed) {
        this.#restUntil[rung] = Date.now() + Math.min(restAtLeast * 2 ** (strikes - strikesAllowed), restAtMost)
        return this.#try(rung + 1)
      }
    }
    this.#attempt?.close()
    this.#attempt = undefined
    this.#later(Math.max(this.#backoff.next(), e.retryAfter))
  }

  #bar(e: DoorbellError): void {
    this.#barred = true
    this.#hangUp()
    this.#wanted = true
    this.#say('polling', e)
  }
}
