// What the transports have in common: one connection under way, and what it hears.

import type { Cursor } from './cursor.js'
import { DoorbellError } from './errors.js'
import { problem, type Http } from './http.js'
import type { Page } from './page.js'
import type { Puller } from './puller.js'

/** What is told of a feed, whichever way it comes: which of its puller's methods it is for, and what with. */
export type News =
  | { k: 'head'; feed: string; with: Parameters<Puller['head']> }
  | { k: 'offer'; feed: string; with: [Page] }
  | { k: 'deny'; feed: string; with: [reason: string] }

export interface Sink {
  /** The feeds that are followed and where each is; null: only its head is wanted. `polled`: those that a long poll may bring pages of. */
  cursors(polled?: boolean): Record<string, Cursor | null>
  news(n: News): void
  /** A feed's part of a long poll failed. */
  problem(feed: string, e: DoorbellError): void
}

/** The feeds that are followed, as one text. */
export const namesOf = (cursors: object): string => Object.keys(cursors).sort().join('&feed=')

/** What a connection says of itself. All of it is ignored once the connection was closed, or another is in use. */
export interface LineEvents {
  /** It works: the feeds are subscribed. May be called again. */
  up(): void
  /** It has ended, or doesn't work; it is closed then. */
  down(e: DoorbellError): void
  degraded(yes: boolean): void
  /** The server wants it to be replaced, within so many ms. */
  goaway(ms: number): void
}

export interface Line {
  /** The set of feeds changed. */
  update(): void
  /** Makes sure that somebody is there, soon. */
  check(): void
  close(): void
}

/** Nothing is told before it has returned. */
export type Open = (http: Http, sink: Sink, events: LineEvents) => Line

/** Anything that the gateway sends; see the protocol. Other members are skipped. */
interface Frame {
  subscribed?: Record<string, Cursor | null>
  denied?: Record<string, string>
  changed?: Record<string, Cursor | null>
  spread?: number
  goaway?: { in_ms: number }
  degraded?: boolean
  error?: { code?: string; detail?: string }
  expiring?: object
  close?: { code: number; reason?: string }
}

/** Why a connection was closed. 4029 says in its reason how long to stay away: "5000 ms". */
export const whyClosed = (code: number, reason = ''): DoorbellError =>
  new DoorbellError('closed', `${code} ${reason}`, code, code === 4029 ? parseInt(reason) || 30_000 : 0)

/** Takes one frame of WebSocket or SSE. `renew`: the token ends soon. `again`: what was denied is to be asked again after a while. */
export const takeFrame = (f: Frame, sink: Sink, events: LineEvents, renew: () => void, again: () => void): void => {
  const heads = (cursors: Record<string, Cursor | null> | undefined, first: boolean) => {
    for (const feed in cursors) sink.news({ k: 'head', feed, with: [cursors[feed]!, f.spread, first] })
  }
  for (const feed in f.denied) {
    const reason = f.denied[feed]!
    if (reason === 'unavailable') {
      // Nobody can tell right now. Whoever answers reads can, maybe, so it is polled meanwhile.
      heads({ [feed]: null }, false)
      again()
    } else sink.news({ k: 'deny', feed, with: [reason] })
  }
  if (f.subscribed) events.up()
  heads(f.subscribed, true)
  heads(f.changed, false)
  if (f.degraded != null) events.degraded(f.degraded)
  if (f.goaway) events.goaway(f.goaway.in_ms)
  if (f.expiring) renew()
  if (f.close) events.down(whyClosed(f.close.code, f.close.reason))
  if (f.error) events.down(problem(f.error))
}
