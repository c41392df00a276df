// One browser: the locks and channels that its tabs share. navigator.locks is per tab, so that a tab can die with its locks.

interface Held { name: string; tab: string; release(): void; steal(): void }
interface Waiting { name: string; tab: string; grant(): void }

export class FakeBrowser {
  #held: Held[] = []
  #queue: Waiting[] = []
  #channels = new Map<string, Set<FakeChannel>>()
  /** Messages that were posted, by kind. */
  posted: any[] = []

  locks(tab: string): LockManager {
    const request = (name: string, a: any, b?: any) => new Promise((resolve, reject) => {
      const options = b ? a : {}
      const f = b ?? a
      const grant = () => {
        this.#queue = this.#queue.filter((w) => w !== waiting)
        const held: Held = {
          name, tab,
          release: () => {
            this.#held = this.#held.filter((h) => h !== held)
            this.#next(name)
          },
          steal: () => {
            this.#held = this.#held.filter((h) => h !== held)
            reject(new DOMException('stolen', 'AbortError'))
          },
        }
        this.#held.push(held)
        Promise.resolve(f({ name })).then(resolve, reject).finally(() => this.#held.includes(held) && held.release())
      }
      const waiting = { name, tab, grant }
      options.signal?.addEventListener('abort', () => {
        if (!this.#queue.includes(waiting)) return
        this.#queue = this.#queue.filter((w) => w !== waiting)
        reject(options.signal.reason)
      })
      if (options.steal) {
        for (const h of this.#held.filter((h) => h.name === name)) h.steal()
        queueMicrotask(grant)
      } else {
        this.#queue.push(waiting)
        queueMicrotask(() => this.#next(name))
      }
    })
    return { request, query: async () => ({}) } as unknown as LockManager
  }

  #next(name: string): void {
    if (!this.#held.some((h) => h.name === name)) this.#queue.find((w) => w.name === name)?.grant()
  }

  /** The tab is gone at once: no event, no message. */
  kill(tab: string): void {
    this.#queue = this.#queue.filter((w) => w.tab !== tab)
    for (const set of this.#channels.values()) for (const c of [...set]) if (c.tab === tab) set.delete(c)
    const names = this.#held.filter((h) => h.tab === tab).map((h) => h.name)
    this.#held = this.#held.filter((h) => h.tab !== tab)
    for (const name of names) this.#next(name)
  }

  channelClass(tab: string): typeof BroadcastChannel {
    const browser = this
    return class extends FakeChannel {
      constructor(name: string) {
        super(name, tab, browser)
        if (!browser.#channels.has(name)) browser.#channels.set(name, new Set())
        browser.#channels.get(name)!.add(this)
      }
    } as unknown as typeof BroadcastChannel
  }

  deliver(from: FakeChannel, data: unknown): void {
    this.posted.push(data)
    for (const c of this.#channels.get(from.name) ?? []) {
      if (c !== from) setTimeout(() => this.#channels.get(c.name)!.has(c) && !c.frozen && c.onmessage?.({ data: structuredClone(data) }))
    }
  }

  remove(c: FakeChannel): void {
    this.#channels.get(c.name)?.delete(c)
  }

  freeze(tab: string): void {
    for (const set of this.#channels.values()) for (const c of set) if (c.tab === tab) c.frozen = true
  }
}

class FakeChannel {
  onmessage: ((e: { data: unknown }) => void) | undefined
  frozen = false
  constructor(readonly name: string, readonly tab: string, readonly browser: FakeBrowser) {}
  postMessage(data: unknown): void {
    if (!this.frozen) this.browser.deliver(this, data)
  }
  close(): void {
    this.browser.remove(this)
  }
}
