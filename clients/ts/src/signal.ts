/**
 * Signals alone, for data that lives behind an API of your own.
 *
 * @packageDocumentation
 */
import type { Doorbell } from './doorbell.js'
import { DoorbellError } from './errors.js'
import type { Read } from './answer.js'
import type { Abortable, Signal } from './types.js'

/**
 * For data that lives behind an API of your own: calls back when the feed moves, after the delay that the server asks for so that
 * not everybody fetches at once. The first call comes when the signals begin. Ends with the function that is given back, or
 * with the signal.
 */
export function onSignal(doorbell: Doorbell<any>, feed: string, listener: (s: Signal) => void, options?: Abortable): () => void {
  // What was signalled is all there is to know; what was not is asked for.
  const read: Read = async (since, atLeast, signal) => {
    let cursor = atLeast
    if (!cursor && bare.puller.polls()) {
      const { body } = await bare.host.http.read(feed, '/v1/heads?feed=' + feed, signal)
      cursor = body.heads?.[feed] ?? since
    }
    if (!cursor) throw new DoorbellError('no_feed', 'there is no feed ' + feed, 404)
    if (since && cursor.slice(0, 7) !== since.slice(0, 7)) throw new DoorbellError('reset', 'another epoch', 410, 0, '?at_least=' + cursor)
    return { page: { since, cursor, more: false, trimmed: 0, changes: [] }, pollAfter: 0 }
  }
  const bare = doorbell.bare(feed, read)
  let told: string | undefined
  const tell = () => {
    const { cursor, puller } = bare
    const first = told === undefined
    if (!puller.loaded || told === cursor) return
    told = cursor
    listener({ feed, cursor, first })
  }
  const stop = bare.onStatus(tell, options)
  tell()
  return stop
}
