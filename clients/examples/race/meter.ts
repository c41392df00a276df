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

/** A time in which a change was missing, in ms since 1970. `oldest`: when the oldest that was missing was written. */
export interface Tooth {
  oldest: number
  from: number
  to: number
}

/** Since the last report. `answered`: reads whose answer began. */
export interface Cost {
  at: number
  requests: number
  answered: number
  bytes: number
}

/** Of the last minute; NaN where there is nothing to tell yet. Delays in ms, rates per minute. */
export interface Figures {
  typical: number
  bad: number
  requests: number
  bytes: number
  perChange: number
  /** The share of the reads that brought nothing. */
  vain: number
}

export class Meter {
  transport = 'none'
  /** The newest change that it has; -1: none. */
  has = -1
  readonly #teeth: Tooth[] = []
  #hadAt = 0
  #delays: { at: number; ms: number }[] = []
  #news: number[] = []
  #costs: Cost[] = []
  #began: number

  constructor(
    readonly writes: Writes,
    now: number,
  ) {
    this.#began = now
  }

  seen(n: number, at: number): void {
    this.#news.push(at)
    // How long it takes to start is another race.
    if (this.has >= 0 && n > this.has) {
      this.#teeth.push({ ...this.#missing()!, to: at })
      // One read may bring several changes: each was late for as long as it was.
      for (let i = this.has + 1; i <= n; i++) this.#delays.push({ at, ms: Math.max(0, at - this.writes.at[i]!) })
    }
    this.has = Math.max(this.has, n)
    this.#hadAt = at
  }

  cost(c: Cost): void {
    this.#costs.push(c)
  }

  /** How old the picture is, in ms: the age of the oldest change that is missing. NaN before there is one. */
  staleness(now: number): number {
    if (this.has < 0) return NaN
    const m = this.#missing()
    return m ? Math.max(0, now - m.oldest) : 0
  }

  /** The teeth that reach beyond `since`, the one that grows included. Exact: nothing is too short to be seen. */
  teeth(since: number, now: number): Tooth[] {
    while (this.#teeth.length && this.#teeth[0]!.to < now - window) this.#teeth.shift()
    const m = this.has >= 0 && this.#missing()
    return [...this.#teeth.filter((t) => t.to > since), ...(m ? [{ ...m, to: now }] : [])]
  }

  costs(since: number): Cost[] {
    return this.#costs.filter((c) => c.at > since)
  }

  figures(now: number): Figures {
    const since = now - window
    this.#delays = this.#delays.filter((d) => d.at > since)
    this.#costs = this.costs(since)
    this.#news = this.#news.filter((at) => at > since)
    const delays = this.#delays.map((d) => d.ms).sort((a, b) => a - b)
    const sum = (of: 'requests' | 'answered' | 'bytes') => this.#costs.reduce((n, c) => n + c[of], 0)
    const minutes = Math.max(Math.min(now - this.#began, window), 1_000) / 60_000
    const answered = sum('answered')
    return {
      typical: delays[Math.floor(delays.length / 2)] ?? NaN,
      bad: delays[Math.min(delays.length - 1, Math.floor(delays.length * 0.95))] ?? NaN,
      requests: sum('requests') / minutes,
      bytes: sum('bytes') / minutes,
      perChange: delays.length ? sum('bytes') / delays.length : NaN,
      // One may be counted on this side of the minute and its news on the other.
      vain: answered ? Math.max(0, answered - this.#news.length - 1) / answered : NaN,
    }
  }

  #missing(): { oldest: number; from: number } | undefined {
    const oldest = this.writes.at[this.has + 1]
    return oldest === undefined ? undefined : { oldest, from: Math.max(oldest, this.#hadAt) }
  }
}
