// Each test has a server of its own, and a clock that only moves when it says so.

import { afterEach, beforeEach, expect, vi } from 'vitest'
import { createDoorbell, type Doorbell } from '../../src/index.js'
import type { DoorbellOptions } from '../../src/types.js'
import { FakeServer } from './server.js'

export let server: FakeServer
const open: Doorbell[] = []

export function useFakes(): void {
  beforeEach(() => {
    vi.useFakeTimers()
    vi.setSystemTime(new Date('2030-01-01'))
    // AbortSignal.timeout runs on the machine's clock otherwise.
    vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
      const c = new AbortController()
      setTimeout(() => c.abort(new DOMException('timeout', 'TimeoutError')), ms)
      return c.signal
    })
    server = new FakeServer()
    vi.stubGlobal('fetch', server.fetch)
    vi.stubGlobal('WebSocket', server.socketClass())
  })
  afterEach(() => {
    for (const db of open.splice(0)) db.close()
    vi.useRealTimers()
    vi.unstubAllGlobals()
    vi.restoreAllMocks()
  })
}

/** A client of the server, closed after the test. */
export function connect(o: Partial<DoorbellOptions> = {}): Doorbell {
  const db = createDoorbell({ url: 'https://bell.test', tabs: false, ...o })
  open.push(db)
  return db
}

/** Lets so many ms pass. */
export const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

/** Checks that a client's items are those of the server's snapshot. */
export function expectSame(items: ReadonlyMap<string, unknown>, feed: string): void {
  expect(Object.fromEntries([...items].sort(([a], [b]) => (a < b ? -1 : 1)))).toEqual(server.feed(feed).items())
}
