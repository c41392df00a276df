// What the transports have in common: one connection under way, and what it hears.

import type { Cursor } from './cursor.js'
import { DoorbellError } from './errors.js'
import type { Http } from './http.js'
import type { Page } from './page.js'

/** What is told of a feed, whichever way it comes. */
export type News =
  /** See Puller.head. */
  | { k: 'head'; feed: string; cursor: Cursor | null; spread?: number | undefined; first?: boolean }
  | { k: 'page'; feed: string; page: Page }
  /** See Puller.deny. */
  | { k: 'denied'; feed: string; reason: string }

export interface Sink {
  /** The feeds that are followed and where each is. `polled`: only those that a long poll may bring pages of. */
  cursors(polled?: boolean): Record<string, Cursor>
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
  goaway?: { in_ms?: number }
  degraded?: boolean
  error?: { code?: string; detail?: string }
  expiring?: object
  close?: { code: number; reason?: string }
}

/** Why a connection was closed. 4029 says in its reason how long to stay away: "5000 ms". */
export function whyClosed(code: number, reason = ''): DoorbellError {
  return new DoorbellError('closed', `${code} ${reason}`, code, code === 4029 ? parseInt(reason) || 30_000 : 0)
}

/** Takes one frame of WebSocket or SSE. `renew`: the token ends soon. `again`: what was denied is to be asked again after a while. */
export function takeFrame(f: Frame, sink: Sink, events: LineEvents, renew: () => void, again: () => void): void {
  const { denied = {}, subscribed, changed, spread, goaway, degraded, error, expiring, close } = f
  const heads = (cursors: Record<string, Cursor | null> | undefined, first: boolean) => {
    for (const [feed, cursor] of Object.entries(cursors ?? {})) sink.news({ k: 'head', feed, cursor, spread, first })
  }
  for (const [feed, reason] of Object.entries(denied)) {
    if (reason === 'unavailable') {
      // Nobody can tell right now. Whoever answers reads can, maybe, so it is polled meanwhile.
      heads({ [feed]: null }, false)
      again()
    } else sink.news({ k: 'denied', feed, reason })
  }
  if (subscribed) events.up()
  heads(subscribed, true)
  heads(changed, false)
  if (degraded !== undefined) events.degraded(degraded)
  if (goaway) events.goaway(goaway.in_ms ?? 0)
  if (expiring) renew()
  if (close) events.down(whyClosed(close.code, close.reason))
  if (error) events.down(new DoorbellError(error.code ?? 'error', error.detail ?? ''))
}
