// What is asked of the server, and whether an answer fits.

import { covers, epochOf, newer, type Cursor } from './cursor.js'
import { DoorbellError } from './errors.js'
import { secondsToMs, type Http } from './http.js'
import { parsePage, type Page } from './page.js'

/** One answer, and what its header says. */
export interface Answer {
  page: Page
  /** Doorbell-Pull: so small that a signalled client pulls the snapshot. */
  small?: boolean
  /** Doorbell-Poll-After in ms; 0 when it says nothing. */
  pollAfter: number
}

/** Reads one page from `since` on ('': a snapshot) that covers `atLeast` ('': the newest there is). */
export type Read = (since: Cursor, atLeast: Cursor, signal: AbortSignal) => Promise<Answer>

/** Reads a feed over HTTP. */
export const pageReader = (http: Http, name: string): Read => async (since, atLeast, signal) => {
  const at = (since && '/changes?since=' + since) + (atLeast && (since ? '&' : '?') + 'at_least=' + atLeast)
  const { header, body } = await http.read(name, '/v1/feeds/' + name + at, signal)
  return {
    page: parsePage(body),
    small: header.get('Doorbell-Pull') === 'snapshot',
    pollAfter: secondsToMs(header.get('Doorbell-Poll-After')),
  }
}

/** Whether a page answers what was asked: `target` is what it has to cover. */
export const fits = ({ since, cursor, more }: Page, asked: Cursor, target: Cursor): boolean => {
  return since === asked
    && (!asked || (epochOf(cursor) === epochOf(asked) && !newer(asked, cursor))) // forwards
    && !(more && cursor === asked) // leads somewhere
    && ((asked && more) || covers(cursor, target)) // new enough
}

/** Throws if a page must not be applied: some cache gave another's, or an old one, or a proxy dropped the query. */
export const checkFit = (page: Page, asked: Cursor, target: Cursor): void => {
  if (fits(page, asked, target)) return
  throw new DoorbellError('wrong_answer', `asked ${asked}..${target}, got ${page.since}..${page.cursor}: is the query dropped?`)
}
