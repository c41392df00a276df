/**
 * Svelte stores (and anything else that takes a `subscribe`). They follow the feed while somebody is subscribed.
 *
 * @packageDocumentation
 */
import type { Feed } from './feed.js'
import type { FeedStatus } from './types.js'

/** A store in the sense of Svelte. */
export interface Store<V> {
  subscribe(run: (value: V) => void): () => void
}

/** A feed's items: `$items.get('BTC')`. Another Map after each change. */
export function items<T>(feed: Feed<T>): Store<ReadonlyMap<string, T>> {
  return {
    subscribe(run) {
      run(feed.snapshot())
      return feed.subscribe(() => run(feed.snapshot()))
    },
  }
}

/** One item; undefined while there is none. */
export function item<T>(feed: Feed<T>, key: string): Store<T | undefined> {
  return {
    subscribe(run) {
      run(feed.get(key))
      return feed.subscribe((c) => c.keys.has(key) && run(feed.get(key)))
    },
  }
}

/** How a feed is doing. */
export function status(feed: Feed<any>): Store<FeedStatus> {
  return {
    subscribe(run) {
      run(feed.status)
      return feed.onStatus(run)
    },
  }
}
