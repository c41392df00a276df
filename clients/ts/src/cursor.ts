// Cursors: `<epoch>-<seq>`, or `<epoch>-<seq>~<base>` in the middle of a walk through a large snapshot.

import { DoorbellError } from './errors.js'

/** A place in a feed's history. Its text goes back to the server verbatim. */
export interface Cursor {
  readonly text: string
  readonly epoch: string
  readonly seq: number
  /** Above 0 in a walk: the head when the walk began. */
  readonly base: number
}

/** "I have nothing": older than every other cursor. */
export const nothing: Cursor = { text: '', epoch: '', seq: 0, base: 0 }

const form = /^([0-9a-z]{7})-(0|[1-9]\d{0,15})(?:~([1-9]\d{0,15}))?$/

/** Reads a cursor; '' is {@link nothing}. Throws a DoorbellError `bad_answer` for anything the server would not have given. */
export function parseCursor(text: string): Cursor {
  if (text === '') return nothing
  const [, epoch, seq, base] = form.exec(text) ?? []
  if (!epoch) throw new DoorbellError('bad_answer', `${JSON.stringify(text)} is not a cursor`)
  return { text, epoch, seq: Number(seq), base: Number(base ?? 0) }
}

/** Orders epochs first, then seqs: below 0 when a is older. The base of a walk doesn't count. */
export function compare(a: Cursor, b: Cursor): number {
  return a.epoch === b.epoch ? a.seq - b.seq : a.epoch < b.epoch ? -1 : 1
}

/** Tells whether an answer that ends at c was computed from data that includes d. */
export function covers(c: Cursor, d: Cursor): boolean {
  return compare({ ...c, seq: Math.max(c.seq, c.base) }, d) >= 0
}
