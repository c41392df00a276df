// Answers of the server: pages of items or changes.

import { checkCursor, type Cursor } from './cursor.js'
import { badAnswer } from './errors.js'

/** An item put or deleted, as the server sends it. */
export interface Change {
  key: string
  seq: number
  value?: unknown
  deleted?: boolean
}

/** One answer: a delta, or a snapshot (of which `since` is ''). Tabs hand it to each other as it is. */
export interface Page {
  since: Cursor
  cursor: Cursor
  more: boolean
  /** Items whose seq is this or lower are gone, without tombstones; 0: none. */
  trimmed: number
  changes: Change[]
}

/** Checks what came as JSON. Throws `bad_answer` for what is no page. */
export const parsePage = (wire: any): Page => {
  const changes = wire?.items ?? wire?.changes
  if (!wire?.cursor || !Array.isArray(changes)) throw badAnswer('page')
  return { since: checkCursor(wire.since ?? ''), cursor: checkCursor(wire.cursor), more: !!wire.more, trimmed: wire.trimmed ?? 0, changes }
}
