// What happens around a page: it is looked at again, the network is back, the machine woke.

/** How often the clock is looked at, and how much more than that must have passed for the machine to have slept. In ms. */
const tick = 1_000
const asleep = 4_000
/** Timers of hidden pages may be held back for a minute. */
const asleepHidden = 70_000
/** A page that was hidden for less is not doubted. In ms. */
const glance = 10_000

/** Calls back when what was connected may be dead, or what was stale is wanted again. Gives what stops it. */
export function watchEnvironment(wake: () => void): () => void {
  let last = Date.now()
  const clock = setInterval(() => {
    const now = Date.now()
    const slept = now - last - tick
    last = now
    if (slept > (hidden() ? asleepHidden : asleep)) wake()
  }, tick)
  ;(clock as { unref?: () => void }).unref?.()
  let hiddenAt = Date.now()
  const seen = () => {
    if (hidden()) hiddenAt = Date.now()
    else if (Date.now() - hiddenAt > glance) wake()
  }
  const on: [EventTarget | undefined, string, () => void][] = [
    [globalThis.window, 'online', wake],
    [globalThis.window, 'pageshow', wake],
    [globalThis.document, 'visibilitychange', seen],
    [globalThis.document, 'resume', wake],
  ]
  for (const [target, name, f] of on) target?.addEventListener(name, f)
  return () => {
    clearInterval(clock)
    for (const [target, name, f] of on) target?.removeEventListener(name, f)
  }
}

/** The page is there but nobody sees it. */
export const hidden = () => globalThis.document?.visibilityState === 'hidden'
/** The browser says that there is no network at all. */
export const offline = () => globalThis.navigator?.onLine === false
