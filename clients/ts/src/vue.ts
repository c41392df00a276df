/**
 * Refs for Vue 3. They follow the feed until their scope (the component) ends.
 *
 * @packageDocumentation
 */
import { onScopeDispose, shallowRef, type ShallowRef } from 'vue'
import type { Feed } from './feed.js'
import type { FeedStatus } from './types.js'

/** A feed's items: another Map after each change. */
export function useFeed<T>(feed: Feed<T>): Readonly<ShallowRef<ReadonlyMap<string, T>>> {
  const ref = shallowRef(feed.snapshot())
  onScopeDispose(feed.subscribe(() => (ref.value = feed.snapshot())))
  return ref
}

/** One item; undefined while there is none. */
export function useItem<T>(feed: Feed<T>, key: string): Readonly<ShallowRef<T | undefined>> {
  const ref = shallowRef(feed.get(key))
  onScopeDispose(feed.subscribe((c) => c.keys.has(key) && (ref.value = feed.get(key))))
  return ref
}

/** How a feed is doing. */
export function useDoorbellStatus(feed: Feed<any>): Readonly<ShallowRef<FeedStatus>> {
  const ref = shallowRef(feed.status)
  onScopeDispose(feed.onStatus((s) => (ref.value = s)))
  return ref
}
