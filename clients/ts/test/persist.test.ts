import 'fake-indexeddb/auto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDoorbell } from '../src/index.js'
import { clearPersistence, indexedDBPersistence } from '../src/persist.js'
import { FakeServer } from './fake/server.js'

// On the real clock: a database has its own.
let server: FakeServer
beforeEach(async () => {
  server = new FakeServer()
  vi.stubGlobal('fetch', server.fetch)
  vi.stubGlobal('WebSocket', server.socketClass())
})
afterEach(async () => {
  vi.unstubAllGlobals()
})

const visit = (o: object = {}) => {
  const db = createDoorbell({ url: 'https://bell.test', tabs: false, persistence: indexedDBPersistence({ every: 10, ...o }) })
  const feed = db.feed('a')
  feed.subscribe(() => {})
  return { db, feed }
}
/** The database has the machine's clock, which others use too. */
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000 })
const items = (feed: { items: ReadonlyMap<string, unknown> }) => Object.fromEntries(feed.items)

describe('persistence', () => {
  it('shows the last state before anything was read, then catches up by delta; deletions and resets are kept too', async () => {
    server.write('a', { key: 'x', value: 1 }, { key: 'y', value: 2 })
    const first = visit()
    await until(() => expect(items(first.feed)).toEqual({ x: 1, y: 2 }))
    server.write('a', { key: 'x', deleted: true }, { key: 'z', value: { deep: [3] } })
    await until(() => expect(items(first.feed)).toEqual({ y: 2, z: { deep: [3] } }))
    await new Promise((r) => setTimeout(r, 100))
    first.db.close()

    server.down = true
    const offline = visit()
    await until(() => expect(items(offline.feed)).toEqual({ y: 2, z: { deep: [3] } }))
    offline.db.close()

    server.down = false
    server.write('a', { key: 'w', value: 4 })
    const before = server.reads().length
    const second = visit()
    await until(() => expect(items(second.feed)).toEqual({ y: 2, z: { deep: [3] }, w: 4 }))
    expect(server.reads().slice(before).every((r) => r.includes('since=0k00001-4'))).toBe(true)

    server.drop('a')
    server.write('a', { key: 'new', value: 1 })
    await until(() => expect(items(second.feed)).toEqual({ new: 1 }))
    await new Promise((r) => setTimeout(r, 100))
    second.db.close()
    server.down = true
    const third = visit()
    await until(() => expect(items(third.feed)).toEqual({ new: 1 }))
    third.db.close()
    await clearPersistence()
  })

  it('does without a database', async () => {
    vi.stubGlobal('indexedDB', { open: () => { throw new Error('private window') } })
    server.write('a', { key: 'x', value: 1 })
    const { db, feed } = visit({ name: 'other' })
    await until(() => expect(items(feed)).toEqual({ x: 1 }))
    db.close()
  })
})
