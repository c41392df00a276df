// Feeds as the server keeps them, after the protocol: one row per key, tombstones, floor, walks, trims.

export interface Row { key: string; seq: number; value?: unknown; deleted?: boolean }

export class Refusal extends Error {
  constructor(readonly status: number, readonly code: string, readonly members: object = {}, readonly headers: Record<string, string> = {}) {
    super(code)
  }
}

export class FakeFeed {
  rows = new Map<string, Row>()
  seq = 0
  floor = 0
  trimmed = 0
  constructor(readonly name: string, public epoch: string) {}

  get head(): string {
    return `${this.epoch}-${this.seq}`
  }

  write(changes: { key: string; value?: unknown; deleted?: boolean }[]): { cursor: string; first: number } {
    const first = this.seq + 1
    for (const { key, value, deleted } of changes) {
      if (deleted && !this.live(key)) continue
      this.rows.set(key, deleted ? { key, seq: ++this.seq, deleted } : { key, seq: ++this.seq, value })
    }
    return { cursor: this.head, first }
  }

  live(key: string): boolean {
    return this.rows.has(key) && !this.rows.get(key)!.deleted
  }

  /** What a snapshot holds. */
  items(): Record<string, unknown> {
    return Object.fromEntries([...this.rows.values()].filter((r) => !r.deleted).sort((a, b) => (a.key < b.key ? -1 : 1)).map((r) => [r.key, r.value]))
  }

  /** Retention forgets the deletions up to here. */
  forget(seq: number): void {
    for (const [key, r] of this.rows) {
      if (r.deleted && r.seq <= seq) {
        this.rows.delete(key)
        this.floor = Math.max(this.floor, r.seq)
      }
    }
  }

  trim(seq: number): void {
    for (const [key, r] of this.rows) if (r.seq <= seq) this.rows.delete(key)
    this.trimmed = seq
  }

  read(since: string, atLeast: string, limit: number): object {
    const [epoch, rest = ''] = since.split('-')
    const [seqText, baseText] = rest.split('~')
    const seq = Number(seqText ?? 0)
    const base = baseText ? Number(baseText) : 0
    const [floorEpoch, floorSeq] = atLeast.split('-')
    if (atLeast && (floorEpoch! > this.epoch || (floorEpoch === this.epoch && Number(floorSeq) > this.seq))) {
      throw new Refusal(503, 'behind', {}, { 'Retry-After': '1' })
    }
    if (since && (epoch !== this.epoch || (base || seq) < this.floor || seq > this.seq)) {
      throw new Refusal(410, 'reset', { snapshot: `/v1/feeds/${this.name}?at_least=${this.head}` })
    }
    const walk = since === '' || base > 0
    const walkBase = base || this.seq
    const rows = [...this.rows.values()]
      .filter((r) => r.seq > seq && (!walk || !r.deleted || r.seq > walkBase))
      .sort((a, b) => a.seq - b.seq)
    const page = rows.slice(0, limit)
    const more = rows.length > limit
    const at = more ? page.at(-1)!.seq : this.seq
    return {
      feed: this.name,
      ...(since && { since }),
      cursor: more ? `${this.epoch}-${at}${walk ? '~' + walkBase : ''}` : this.head,
      more,
      ...(this.trimmed && { trimmed: this.trimmed }),
      [since ? 'changes' : 'items']: page.map(({ key, seq, value, deleted }) => (deleted ? { key, seq, deleted } : { key, seq, value })),
    }
  }
}
