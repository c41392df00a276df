// Listeners of applications.

import type { Abortable } from './types.js'

/**
 * Adds a listener until the function that is given back is called, or the signal ends; then `ended` is. The same function may
 * listen twice.
 */
export const listen = <A>(set: Set<(a: A) => void>, listener: (a: A) => void, { signal }: Abortable = {}, ended?: () => void): () => void => {
  const mine = (a: A) => listener(a)
  const stop = () => {
    if (!set.delete(mine)) return
    signal?.removeEventListener('abort', stop)
    ended?.()
  }
  if (!signal?.aborted) set.add(mine)
  signal?.addEventListener('abort', stop)
  return stop
}

/** Tells all of them. A listener's mistake is its own. */
export const tell = <A>(set: Iterable<(a: A) => void>, a: A): void => {
  for (const f of set) {
    try {
      f(a)
    } catch (e) {
      ;(globalThis.reportError ?? console.error)(e)
    }
  }
}
