// How long to wait: between polls, and after failures.

export const now = (): number => Date.now()

/** A number in [0, upTo). */
export const random = (upTo: number): number => Math.random() * upTo

/** One timer: each call forgets what was planned before, and plans `f` if there is one. */
export type Alarm = (f?: () => void, ms?: number) => void

export const createAlarm = (): Alarm => {
  let timer: ReturnType<typeof setTimeout>
  return (f, ms) => {
    clearTimeout(timer)
    if (f) timer = setTimeout(f, ms)
  }
}

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  minPoll = 1_000,
  maxPoll = 60_000,
}

/** The adaptive interval between polls, in ms: the server's word if it gives one, else 1 s to 60 s by what the answers hold. */
export const createPollPace = () => {
  let interval = Bound.minPoll
  let empty = 0
  const scale = (by: number) => {
    interval = Math.min(Math.max(interval * by, Bound.minPoll), Math.max(interval, Bound.maxPoll))
  }
  return {
    /** Notes an answer. `after` is the server's Doorbell-Poll-After in ms, an hour at most; 0 when it gave none. */
    answered(news: boolean, after: number) {
      empty = news ? 0 : empty + 1
      if (after) interval = after
      else if (news) scale(0.5)
      else if (empty === 3) {
        empty = 0
        scale(1.5)
      }
    },
    failed: () => scale(2),
    /** The delay to the first poll after signals stopped: they stop for many clients at one moment, so anywhere in the interval. */
    first: () => random(interval),
    /** The delay between two polls: never shorter than the interval, which is the server's wish. */
    next: () => interval + random(interval / 5),
  }
}

/** Full jitter: the n-th delay is random up to 0.5 s × 2^n, 30 s at most. */
export const createBackoff = () => {
  let failures = 0
  return {
    next: () => random(Math.min(500 * 2 ** failures++, 30_000)),
    reset() {
      failures = 0
    },
  }
}
