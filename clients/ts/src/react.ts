/**
 * Hooks for React 18 and newer. They render on a server (empty, idle), and follow a feed as long as a component is there.
 *
 * @packageDocumentation
 */
import { createContext, createElement, useCallback, useContext, useSyncExternalStore, type ReactNode } from 'react'
import type { Doorbell, WritableFeed } from './index.js'
import type { FeedStatus } from './types.js'

const Context = createContext<Doorbell | undefined>(undefined)
const empty: ReadonlyMap<string, any> = new Map()
const idle: FeedStatus = { state: 'idle', transport: 'none', staleSince: 0, error: undefined }

/** Gives the hooks below it their Doorbell. */
export function DoorbellProvider(props: { doorbell: Doorbell; children?: ReactNode }): ReactNode {
  return createElement(Context.Provider, { value: props.doorbell }, props.children)
}

/** The Doorbell of the nearest {@link DoorbellProvider}. Throws where there is none. */
export function useDoorbell(): Doorbell {
  const doorbell = useContext(Context)
  if (!doorbell) throw new Error('there is no DoorbellProvider around this component')
  return doorbell
}

/** Follows a feed. `items` is another Map after each change, and otherwise the same. Rerenders with every change: see {@link useItem}. */
export function useFeed<T = any>(name: string): { items: ReadonlyMap<string, T>; feed: WritableFeed<T> } {
  const feed = useDoorbell().feed<T>(name)
  const subscribe = useCallback((changed: () => void) => feed.subscribe(changed), [feed])
  const items = useSyncExternalStore(subscribe, () => feed.snapshot(), () => empty)
  return { items, feed }
}

/** Follows one item of a feed, and rerenders when that changes. undefined: there is none (yet). */
export function useItem<T = any>(name: string, key: string): T | undefined {
  const feed = useDoorbell().feed<T>(name)
  const subscribe = useCallback((changed: () => void) => feed.subscribe((c) => c.keys.has(key) && changed()), [feed, key])
  return useSyncExternalStore(subscribe, () => feed.get(key), () => undefined)
}

/** How a feed is doing. Follows it. */
export function useDoorbellStatus(name: string): FeedStatus {
  const feed = useDoorbell().feed(name)
  const subscribe = useCallback((changed: () => void) => feed.onStatus(changed), [feed])
  return useSyncExternalStore(subscribe, () => feed.status, () => idle)
}
