/**
 * Signals for SWR: the data stays behind your own API, Doorbell says when to fetch it again.
 *
 * @packageDocumentation
 */
import type { Doorbell } from './index.js'
import type { Abortable } from './types.js'

/**
 * Revalidates a key when a feed moves, after the random delay that the server asks a crowd for. Also once when the signals begin, as
 * what was fetched before may be old. `mutate` is SWR's, the global one or that of `useSWRConfig`.
 * Ends with the function that is given back, or with the signal.
 *
 * ```ts
 * useEffect(() => revalidateOnSignal(db, mutate, 'orders', '/api/orders'), [db, mutate])
 * ```
 */
export function revalidateOnSignal<Key>(
  doorbell: Pick<Doorbell, 'onSignal'>,
  mutate: (key: Key) => Promise<unknown>,
  feed: string,
  key: Key,
  options?: Abortable,
): () => void {
  return doorbell.onSignal(feed, () => void mutate(key), options)
}
