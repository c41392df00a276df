// Cursors: `<epoch>-<seq>`, or `<epoch>-<seq>~<base>` in the middle of a walk through a large snapshot. They stay the text
// that the server gave, and goes back to it verbatim.

import { badAnswer } from './errors.js'

/** A place in a feed's history; '' is "I have nothing", older than every other. */
export type Cursor = string

const form = /^(\w{7}-\d{1,16}(~\d+)?)?$/

/** Checks a cursor. Throws a DoorbellError `bad_answer` for anything the server would not have given. */
export const checkCursor = (text: Cursor): Cursor => {
  if (form.test(text)) return text
  throw badAnswer('cursor')
}

export const epochOf = (c: Cursor): string => c.slice(0, 7)
export const seqOf = (c: Cursor): number => parseInt(c.slice(8)) || 0
/** In the middle of a walk. */
export const walks = (c: Cursor): boolean => c.includes('~')

/** The cursor so many seqs on. */
export const next = (c: Cursor, by = 1): Cursor => epochOf(c) + '-' + (seqOf(c) + by)

/** Tells whether a is newer than b: epochs first, then seqs. The base of a walk doesn't count. */
export const newer = (a: Cursor, b: Cursor): boolean => epochOf(a) === epochOf(b) ? seqOf(a) > seqOf(b) : epochOf(a) > epochOf(b)

/** Tells whether an answer that ends at c was computed from data that includes d. The base of a walk is the head when it began. */
export const covers = (c: Cursor, d: Cursor): boolean => !newer(d, c) || !newer(d, c.replace(/-\d+~/, '-'))
