// A feed's items as the server told them.

import { epochOf, newer, walks, type Cursor } from './cursor.js'
import type { Page } from './page.js'

interface Row {
  seq: number
  value: unknown
}

/** What one step did. */
export interface Applied {
  keys: Set<string>
  reset: boolean
}

export interface Replica {
  /** What the application sees; the same Map for ever. */
  readonly items: Map<string, any>
  /** What the server said, by key. */
  readonly rows: ReadonlyMap<string, Row>
  /** Where the state is; while a walk or a reset is under way, where the state that is shown is. */
  have: Cursor
  /** From where to read on; differs from `have` in the middle of a walk and after a reset: '' asks for a snapshot. */
  from: Cursor
  /** The highest seq whose items the server has trimmed, and may do so in any write; 0: it never did. */
  trimmed: number
  /**
   * Takes a page that begins exactly at `from`, or a snapshot. Gives what changed, or undefined while a walk goes on.
   * The caller has checked that it fits.
   */
  apply(page: Page): Applied | undefined
  /** Makes the items of these keys what the server said. */
  show(keys: Iterable<string>): void
  /** All of it as one page, for another tab or for keeping; undefined while there is nothing whole. */
  snapshot(): Page | undefined
}

export const createReplica = (): Replica => {
  let rows = new Map<string, Row>()
  let staged = rows // of a walk that has not arrived
  const r: Replica = {
    items: new Map(),
    get rows() {
      return rows
    },
    have: '',
    from: '',
    trimmed: 0,
    apply({ since, cursor, more, trimmed, changes }) {
      const next = !since ? new Map<string, Row>() : walks(r.from) ? staged : rows
      const keys = new Set<string>()
      for (const { key, seq, value, deleted } of changes) {
        keys.add(key)
        if (deleted) next.delete(key)
        else next.set(key, { seq, value })
      }
      if (trimmed > r.trimmed) for (const [key, { seq }] of next) if (seq <= trimmed && next.delete(key)) keys.add(key)
      r.trimmed = trimmed
      r.from = cursor
      staged = next
      if (more && next !== rows) return
      const reset = !!r.have && (epochOf(r.have) !== epochOf(cursor) || newer(r.have, cursor))
      if (next !== rows) {
        keys.clear()
        for (const key of rows.keys()) if (!next.has(key)) keys.add(key)
        // After a reset, seqs of the old history mean nothing.
        for (const [key, { seq }] of next) if (reset || rows.get(key)?.seq !== seq) keys.add(key)
        rows = next
      }
      r.have = cursor
      r.show(keys)
      return { keys, reset }
    },
    show(keys) {
      for (const key of keys) {
        const row = rows.get(key)
        if (row) r.items.set(key, row.value)
        else r.items.delete(key)
      }
    },
    snapshot() {
      if (r.have && r.from === r.have) {
        return { since: '', cursor: r.have, more: false, trimmed: r.trimmed, changes: [...rows].map(([key, row]) => ({ key, ...row })) }
      }
    },
  }
  return r
}
