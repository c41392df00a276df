// Answers of the server: pages of items or changes.

import { nothing, parseCursor, type Cursor } from './cursor.js'
import { DoorbellError } from './errors.js'

/** An item put or deleted, as the server sends it. */
export interface Change {
  key: string
  seq: number
  value?: unknown
  deleted?: boolean
}

/** One answer: a delta, or a snapshot (of which `since` is nothing). */
export interface Page {
  since: Cursor
  cursor: Cursor
  more: boolean
  /** Items whose seq is this or lower are gone, without tombstones; 0: none. */
  trimmed: number
  changes: Change[]
}

/** Checks what came as JSON. Throws `bad_answer` for what is no page. */
export function parsePage(wire: unknown): Page {
  const w = wire as { since?: string; cursor?: string; more?: boolean; trimmed?: number; items?: Change[]; changes?: Change[] }
  const changes = w?.items ?? w?.changes
  if (!w?.cursor || !Array.isArray(changes)) throw new DoorbellError('bad_answer', 'the answer is not a page of a feed')
  return {
    since: w.since ? parseCursor(w.since) : nothing,
    cursor: parseCursor(w.cursor),
    more: !!w.more,
    trimmed: w.trimmed ?? 0,
    changes,
  }
}

/** The wire's form of a page, for other tabs: what parsePage takes. */
export function pageToWire(p: Page): unknown {
  return { since: p.since.text, cursor: p.cursor.text, more: p.more, trimmed: p.trimmed, changes: p.changes }
}
