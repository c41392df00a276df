import type { Feed } from './feed.js'
import type { Abortable, FeedChange } from './types.js'

/** A feed to wait for, and to go through as a sequence. */
export interface Sequence extends AsyncIterable<FeedChange> {
  /** Waits until all of the feed is here, and follows it meanwhile. Rejects with the signal's reason, or when reading is denied. */
  ready(options?: Abortable): Promise<this>
  /**
   * Follows the feed as a sequence: what is there first, then each change. Changes that come while the loop's body runs are
   * one. Ends with the loop, or with the signal.
   */
  changes(options?: Abortable): AsyncGenerator<FeedChange, void, undefined>
}

/** Adds to a feed what makes it a sequence. */
export function iterable<F extends Feed<any>>(feed: F): F & Sequence {
  const sequence: Sequence & ThisType<F> = {
    ready: (options) => ready(feed, options) as Promise<any>,
    changes: (options) => changes(feed, options),
    [Symbol.asyncIterator]: () => changes(feed),
  }
  return Object.assign(feed, sequence)
}

async function ready<F extends Feed<any>>(feed: F, { signal }: Abortable = {}): Promise<F> {
  signal?.throwIfAborted()
  if (feed.puller.loaded && feed.puller.active) return feed
  await new Promise<void>((resolve, reject) => {
    const check = () => {
      const { state, error } = feed.status
      if (signal?.aborted) reject(signal.reason)
      else if (feed.puller.loaded) resolve()
      else if (state === 'denied') reject(error)
      else return
      stop()
      signal?.removeEventListener('abort', check)
    }
    const stop = feed.onStatus(check)
    signal?.addEventListener('abort', check)
    queueMicrotask(check)
  })
  return feed
}

async function* changes(feed: Feed<any>, { signal }: Abortable = {}): AsyncGenerator<FeedChange, void, undefined> {
  let next: FeedChange | undefined = feed.puller.loaded ? { keys: new Set(feed.items.keys()), cursor: feed.cursor, reset: false } : undefined
  let wake: (() => void) | undefined
  const stop = feed.subscribe((c) => {
    next = next ? { keys: new Set([...next.keys, ...c.keys]), cursor: c.cursor, reset: next.reset || c.reset } : c
    wake?.()
  })
  const abort = () => wake?.()
  signal?.addEventListener('abort', abort)
  try {
    while (!signal?.aborted) {
      if (!next) await new Promise<void>((resolve) => (wake = resolve))
      const now = next
      next = undefined
      if (now && !signal?.aborted) yield now
    }
  } finally {
    stop()
    signal?.removeEventListener('abort', abort)
  }
}
