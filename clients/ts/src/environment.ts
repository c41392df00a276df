// What happens around a page: it is looked at again, the network is back, the machine woke.

import { now } from './pace.js'

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  /** How often the clock is looked at, and how much more than that must have passed for the machine to have slept. In ms. */
  tick = 1_000,
  asleep = 4_000,
  /** Timers of hidden pages may be held back for a minute. */
  asleepHidden = 70_000,
  /** A page that was hidden for less is not doubted. In ms. */
  glance = 10_000,
}

/** Calls back when what was connected may be dead, or what was stale is wanted again, until the signal ends it. */
export const watchEnvironment = (wake: () => void, end: AbortSignal): void => {
  let last = now()
  let hiddenAt = last
  const clock = setInterval(() => {
    const slept = now() - last - Bound.tick
    last = now()
    if (slept > (hidden() ? Bound.asleepHidden : Bound.asleep)) wake()
  }, Bound.tick)
  ;(clock as { unref?: () => void }).unref?.() // a process of Node may end
  end.addEventListener('abort', () => clearInterval(clock))
  for (const name of ['online', 'pageshow', 'resume']) listenTo(name, wake, end)
  listenTo('visibilitychange', () => {
    if (hidden()) hiddenAt = now()
    else if (now() - hiddenAt > Bound.glance) wake()
  }, end)
}

/** Hears of an event of the page; those of its document come up to the window. In other runtimes there are none. */
export const listenTo = (name: string, f: () => void, signal: AbortSignal): void => globalThis.addEventListener?.(name, f, { signal })

/** The page is there but nobody sees it. */
export const hidden = () => globalThis.document?.hidden
/** The browser says that there is no network at all. */
export const offline = () => globalThis.navigator?.onLine === false
