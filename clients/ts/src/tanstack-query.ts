/**
 * Signals for TanStack Query: the data stays behind your own API, Doorbell says when to fetch it again.
 *
 * @packageDocumentation
 */
import type { Doorbell } from './index.js'
import type { Abortable } from './types.js'

/** What is needed of a QueryClient, of any version. */
export interface Invalidates<Filters> {
  invalidateQueries(filters: Filters): Promise<unknown>
}

/**
 * Invalidates queries when a feed moves, after the random delay that the server asks a crowd for. Also once when the signals begin, as
 * what was fetched before may be old. Ends with the function that is given back, or with the signal.
 *
 * ```ts
 * invalidateOnSignal(db, queryClient, 'orders', { queryKey: ['orders'] })
 * ```
 */
export function invalidateOnSignal<Filters>(
  doorbell: Pick<Doorbell, 'onSignal'>,
  client: Invalidates<Filters>,
  feed: string,
  filters: Filters,
  options?: Abortable,
): () => void {
  return doorbell.onSignal(feed, () => void client.invalidateQueries(filters), options)
}
