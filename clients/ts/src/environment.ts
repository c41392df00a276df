// What happens around a page: it is looked at again, the network is back, the machine woke.

import { now, unref } from './pace.js'

/** How often the clock is looked at, and how much more than that must have passed for the machine to have slept. In ms. */
const tick = 1_000
const asleep = 4_000
/** Timers of hidden pages may be held back for a minute. */
const asleepHidden = 70_000
/** A page that was hidden for less is not doubted. In ms. */
const glance = 10_000

/** Calls back when what was connected may be dead, or what was stale is wanted again. Gives what stops it. */
export function watchEnvironment(wake: () => void): () => void {
  let last = now()
  let hiddenAt = last
  const clock = setInterval(() => {
    const slept = now() - last - tick
    last = now()
    if (slept > (hidden() ? asleepHidden : asleep)) wake()
  }, tick)
  unref(clock)
  const end = new AbortController()
  for (const name of ['online', 'pageshow', 'resume']) listenTo(name, wake, end.signal)
  listenTo('visibilitychange', () => {
    if (hidden()) hiddenAt = now()
    else if (now() - hiddenAt > glance) wake()
  }, end.signal)
  return () => {
    clearInterval(clock)
    end.abort()
  }
}

/** Hears of an event of the page; those of its document come up to the window. In other runtimes there are none. */
export const listenTo = (name: string, f: () => void, signal: AbortSignal): void => globalThis.addEventListener?.(name, f, { signal })

/** The page is there but nobody sees it. */
export const hidden = () => globalThis.document?.visibilityState === 'hidden'
/** The browser says that there is no network at all. */
export const offline = () => globalThis.navigator?.onLine === false
