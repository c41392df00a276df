// What one lane has shown so far.

/** What was written, when: the same list for all lanes. Index: the change's number. In ms since 1970. */
export class Writes {
  readonly at: number[] = []
  add(now: number): number {
    return this.at.push(now) - 1
  }
}

/** How long figures look back, in ms. */
export const window = 60_000

export class Meter {
  transport = 'none'
  /** The newest change that it has; -1: none. */
  has = -1
  #delays: { at: number; ms: number }[] = []
  #costs: { at: number; requests: number; bytes: number }[] = []
  #began: number

  constructor(
    readonly writes: Writes,
    now: number,
  ) {
    this.#began = now
  }

  seen(n: number, at: number): void {
    // One read may bring several changes: each was late for as long as it was.
    for (let i = this.has + 1; i <= n; i++) this.#delays.push({ at, ms: Math.max(0, at - this.writes.at[i]!) })
    this.has = Math.max(this.has, n)
  }

  cost(at: number, requests: number, bytes: number): void {
    this.#costs.push({ at, requests, bytes })
  }

  /** How old the picture is, in ms: the age of the oldest change that is missing. */
  staleness(now: number): number {
    const missing = this.writes.at[this.has + 1]
    return missing === undefined ? 0 : Math.max(0, now - missing)
  }

  /** Figures of the last minute. NaN where there is nothing to tell yet. */
  figures(now: number): { typical: number; bad: number; requests: number; bytes: number; perChange: number } {
    const since = now - window
    this.#delays = this.#delays.filter((d) => d.at > since)
    this.#costs = this.#costs.filter((c) => c.at > since)
    const delays = this.#delays.map((d) => d.ms).sort((a, b) => a - b)
    const requests = this.#costs.reduce((n, c) => n + c.requests, 0)
    const bytes = this.#costs.reduce((n, c) => n + c.bytes, 0)
    const minutes = Math.max(Math.min(now - this.#began, window), 1_000) / 60_000
    return {
      typical: delays[Math.floor(delays.length / 2)] ?? NaN,
      bad: delays[Math.min(delays.length - 1, Math.floor(delays.length * 0.95))] ?? NaN,
      requests: requests / minutes,
      bytes: bytes / minutes,
      perChange: delays.length ? bytes / delays.length : NaN,
    }
  }
}
