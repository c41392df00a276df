// What the transports have in common: one connection under way, and what it hears.

import { DoorbellError } from './errors.js'
import type { Http } from './http.js'
import type { Page } from './page.js'

/** What is told of feeds, whichever way it comes. */
export interface Sink {
  /** The feeds that are followed and where each is. `polled`: only those that a long poll may bring pages of. */
  cursors(polled?: boolean): Record<string, string>
  /** See Puller.head. */
  head(feed: string, cursor: string | null, spread: number, first: boolean): void
  page(feed: string, page: Page): void
  problem(feed: string, e: DoorbellError): void
  denied(feed: string, reason: string): void
}

/** What a connection says of itself. Each is ignored once the connection was closed. */
export interface LineEvents {
  /** It works: the feeds are subscribed. May be called again. */
  up(): void
  /** It has ended, or doesn't work. */
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

export type Open = (http: Http, sink: Sink, events: LineEvents) => Line

/** Anything that the gateway sends; see the protocol. */
interface Frame {
  subscribed?: Record<string, string | null>
  denied?: Record<string, string>
  changed?: Record<string, string | null>
  spread?: number
  goaway?: { in_ms?: number }
  degraded?: boolean
  error?: { code?: string; detail?: string }
  expiring?: object
  close?: { code: number; reason?: string }
}

/** Why a connection was closed. 4029 says in its reason how long to stay away: "5000 ms". */
export function closed(code: number, reason = ''): DoorbellError {
  return new DoorbellError('closed', `closed with ${code} ${reason}`, code, code === 4029 ? parseInt(reason) || 30_000 : 0)
}

/** Takes one frame of WebSocket or SSE. `renew`: the token ends soon. */
export function takeFrame(f: Frame, sink: Sink, events: LineEvents, renew: () => void): void {
  for (const [feed, reason] of Object.entries(f.denied ?? {})) sink.denied(feed, reason)
  if (f.subscribed) {
    events.up()
    for (const [feed, cursor] of Object.entries(f.subscribed)) sink.head(feed, cursor, 0, true)
  }
  for (const [feed, cursor] of Object.entries(f.changed ?? {})) sink.head(feed, cursor, f.spread ?? 0, false)
  if (f.degraded !== undefined) events.degraded(f.degraded)
  if (f.goaway) events.goaway(f.goaway.in_ms ?? 0)
  if (f.expiring) renew()
  if (f.close) events.down(closed(f.close.code, f.close.reason))
  if (f.error) events.down(new DoorbellError(f.error.code ?? 'error', f.error.detail ?? ''))
}
