// A feed's items as this client has them: what the server said, and over it what this client wrote and the server
// has not confirmed yet.

import { compare, nothing, type Cursor } from './cursor.js'
import type { Change, Page } from './page.js'

interface Row {
  seq: number
  value: unknown
}

/** An optimistic write that lies over the server's state. */
export interface Pending {
  readonly key: string
  readonly value: unknown
  readonly deleted: boolean
}

/** What one step did. */
export interface Applied {
  keys: Set<string>
  reset: boolean
}

export class Replica<T> {
  /** What the application sees; the same Map for ever. */
  readonly items = new Map<string, T>()
  /** Where the state is; while a walk or a reset is under way, where the state that is shown is. */
  have: Cursor = nothing
  /** From where to read on; differs from `have` in the middle of a walk and after a reset. */
  from: Cursor = nothing

  #rows = new Map<string, Row>()
  #staged: Map<string, Row> | undefined // the rows of a walk that has not arrived
  #trimmed = 0
  readonly #pending = new Set<Pending>()

  /** The seq of a key's latest change as the server told it; undefined: there is no such item. */
  seq(key: string): number | undefined {
    return this.#rows.get(key)?.seq
  }

  /** The server has trimmed this feed before, and may do so in any write. */
  get trims(): boolean {
    return this.#trimmed > 0
  }

  /** There is no way on from here: the next page has to be a snapshot. What is shown stays until then. */
  startOver(): void {
    this.from = nothing
    this.#staged = undefined
  }

  /** The feed doesn't exist. */
  clear(): Applied | undefined {
    this.startOver()
    if (!this.have.text) return undefined
    this.have = nothing
    return this.#swap(new Map(), true)
  }

  /**
   * Takes a page that begins exactly at `from`, or a snapshot. Gives what changed, or undefined while a walk goes on.
   * The caller has checked that it fits.
   */
  apply(page: Page): Applied | undefined {
    const walking = page.more || this.from.base > 0
    if (page.since.text && !walking) return this.#delta(page)
    const rows = (page.since.text && this.#staged) || new Map<string, Row>()
    for (const c of page.changes) setRow(rows, c)
    for (const [key, row] of rows) if (row.seq <= page.trimmed) rows.delete(key)
    this.from = page.cursor
    if (page.more) {
      this.#staged = rows
      return undefined
    }
    this.#staged = undefined
    const reset = this.have.epoch !== '' && (this.have.epoch !== page.cursor.epoch || compare(page.cursor, this.have) < 0)
    this.have = page.cursor
    this.#trimmed = page.trimmed
    return this.#swap(rows, reset)
  }

  #delta(page: Page): Applied {
    const keys = new Set<string>()
    if (page.trimmed > this.#trimmed) {
      this.#trimmed = page.trimmed
      for (const [key, row] of this.#rows) if (row.seq <= page.trimmed && this.#rows.delete(key)) keys.add(key)
    }
    for (const c of page.changes) {
      setRow(this.#rows, c)
      keys.add(c.key)
    }
    this.have = this.from = page.cursor
    this.#show(keys)
    return { keys, reset: false }
  }

  #swap(rows: Map<string, Row>, reset: boolean): Applied {
    const keys = new Set<string>()
    for (const key of this.#rows.keys()) if (!rows.has(key)) keys.add(key)
    for (const [key, row] of rows) {
      // After a reset, seqs of the old history mean nothing.
      if (reset || this.#rows.get(key)?.seq !== row.seq) keys.add(key)
    }
    this.#rows = rows
    this.#show(keys)
    return { keys, reset }
  }

  /** Lays a write over the state until {@link settle}. */
  overlay(p: Pending): void {
    this.#pending.add(p)
    this.#show([p.key])
  }

  /** Takes a write away: it has been confirmed (and is part of the rows), or refused. */
  settle(p: Pending): void {
    this.#pending.delete(p)
    this.#show([p.key])
  }

  #show(keys: Iterable<string>): void {
    for (const key of keys) {
      const row = this.#rows.get(key)
      if (row) this.items.set(key, row.value as T)
      else this.items.delete(key)
    }
    for (const p of this.#pending) {
      if (p.deleted) this.items.delete(p.key)
      else this.items.set(p.key, p.value as T)
    }
  }

  /** All of it as one page, for another tab or for keeping; undefined while there is nothing whole. */
  snapshot(): Page | undefined {
    if (!this.have.text || this.from !== this.have) return undefined
    const changes: Change[] = []
    for (const [key, row] of this.#rows) changes.push({ key, seq: row.seq, value: row.value })
    return { since: nothing, cursor: this.have, more: false, trimmed: this.#trimmed, changes }
  }
}

function setRow(rows: Map<string, Row>, c: Change): void {
  if (c.deleted) rows.delete(c.key)
  else rows.set(c.key, { seq: c.seq, value: c.value })
}
