// How long to wait: between polls, and after failures.

/** A number in [0, upTo). */
export function random(upTo: number): number {
  return Math.random() * upTo
}

const minPoll = 1_000
const maxPoll = 60_000
const maxPollAfter = 3_600_000

/** The adaptive interval between polls, in ms: the server's word if it gives one, else 1 s to 60 s by what the answers hold. */
export class PollPace {
  #interval = minPoll
  #empty = 0

  /** Notes an answer. `after` is the server's Doorbell-Poll-After in ms; 0 when it gave none. */
  answered(news: boolean, after: number): void {
    this.#empty = news ? 0 : this.#empty + 1
    if (after > 0) {
      this.#interval = Math.min(after, maxPollAfter)
    } else if (news) {
      this.#scale(0.5)
    } else if (this.#empty === 3) {
      this.#empty = 0
      this.#scale(1.5)
    }
  }

  failed(): void {
    this.#scale(2)
  }

  /** The delay to the first poll after signals stopped: they stop for many clients at one moment, so anywhere in the interval. */
  first(): number {
    return random(this.#interval)
  }

  /** The delay between two polls: never shorter than the interval, which is the server's wish. */
  next(): number {
    return this.#interval + random(this.#interval / 5)
  }

  #scale(by: number): void {
    this.#interval = Math.min(Math.max(this.#interval * by, minPoll), Math.max(this.#interval, maxPoll))
  }
}

/** Full jitter: the n-th delay is random up to 0.5 s × 2^n, 30 s at most. */
export class Backoff {
  #failures = 0

  next(): number {
    return random(Math.min(500 * 2 ** this.#failures++, 30_000))
  }

  reset(): void {
    this.#failures = 0
  }
}
