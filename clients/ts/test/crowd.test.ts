import { beforeEach, describe, expect, it, vi } from 'vitest'
import { FakeBrowser } from './fake/browser.js'
import { connect, expectSame, pass, server, useFakes } from './fake/setup.js'

useFakes()

/** What a cache holds: the answers that those had who were on time. By path and query. */
let cache: Map<string, object>
const e = (seq: number) => '0k00001-' + seq
const step = (from: number, to: number) => `a/changes?since=${e(from)}&at_least=${e(to)}`

beforeEach(() => {
  cache = new Map()
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
})

const follow = async (o = {}) => {
  server.write('a', { key: 'x', value: 1 })
  const db = connect(o)
  const feed = db.feed('a')
  feed.subscribe(() => {})
  await pass(100)
  server.requests.length = 0
  server.meddle = (r) => {
    const cached = cache.get(r.path.slice(10) + r.search)
    return cached && Response.json(cached)
  }
  return { db, feed }
}

/** Changes that are signalled with a spread, so that this client is late. A cache has the first `cached` of the steps. */
const behind = async (changes: number, cached: number) => {
  const f = server.feed('a')
  for (let i = 0; i < changes; i++) {
    const from = f.seq
    f.write([{ key: 'k' + i, value: i }])
    if (i < cached) cache.set(step(from, f.seq), f.read(e(from), e(f.seq), 1000))
    server.signal('a', 2_000)
    await pass(20)
  }
  expect(server.reads()).toEqual([])
}

describe('who is behind', () => {
  it('goes the way of the crowd: the oldest step first, then the rest at once', async () => {
    const { feed } = await follow()
    await behind(4, 4)
    server.latency = 50
    const asked: number[] = []
    const { meddle } = server
    server.meddle = (r) => {
      asked.push(Date.now())
      return meddle!(r)
    }
    await pass(2_000)
    expect(server.reads()).toEqual([step(1, 2), step(2, 3), step(3, 4), step(4, 5)])
    expect(new Set(asked.slice(1)).size, 'in parallel').toBe(1)
    expectSame(feed.items, 'a')
    expect(feed.status).toMatchObject({ state: 'live', error: undefined })
  })

  it('asks once where nothing caches: the first answer is the newest already', async () => {
    const { feed } = await follow()
    await behind(4, 0)
    await pass(2_000)
    expect(server.reads()).toEqual([step(1, 2)])
    expectSame(feed.items, 'a')
  })

  it('drops a step that another has led over', async () => {
    const { feed } = await follow()
    await behind(4, 1)
    await pass(2_000)
    expect(server.reads()).toEqual([step(1, 2), step(2, 3), step(3, 4), step(4, 5)])
    expectSame(feed.items, 'a')
    expect(feed.status.state).toBe('live')
  })

  it('asks for the newest after a step that failed, and not before it may', async () => {
    const { feed } = await follow()
    await behind(4, 4)
    const { meddle } = server
    server.meddle = (r) => (r.search.includes(e(3)) && !r.search.includes(e(4)) ? Response.json({ code: 'behind', status: 503 }, { status: 503, headers: { 'Retry-After': '2' } }) : meddle!(r))
    await pass(1_500)
    server.meddle = undefined
    const before = server.reads().length
    expect(before).toBe(4)
    await pass(1_000)
    expect(server.reads().length).toBe(before)
    await pass(3_000)
    expect(server.reads().slice(before)).toEqual([step(2, 5)])
    expectSame(feed.items, 'a')
  })

  it('asks for the newest after a page that is not the last', async () => {
    const { feed } = await follow()
    await behind(4, 0)
    server.limit = 2
    await pass(2_000)
    expect(server.reads()).toEqual([step(1, 2), step(3, 5)])
    expectSame(feed.items, 'a')
  })

  it('remembers 16 steps; of more, only the newest', async () => {
    const { feed } = await follow()
    await behind(17, 17)
    await pass(2_000)
    expect(server.reads()).toEqual([step(1, 18)])
    expectSame(feed.items, 'a')
  })

  it('forgets the steps of another epoch', async () => {
    const { feed } = await follow()
    await behind(3, 3)
    server.drop('a')
    server.feed('a').write([{ key: 'y', value: 2 }])
    server.signal('a', 2_000)
    await pass(2_000)
    expect(server.reads()).toEqual(['a?at_least=0k00002-1'])
    expectSame(feed.items, 'a')
  })

  it('asks for the newest when a subscription begins, and while the gateway is degraded', async () => {
    const { feed } = await follow()
    await behind(3, 3)
    server.feed('a').write([{ key: 'y', value: 2 }])
    server.sockets[0]!.receive({ subscribed: { a: e(5) } })
    await pass(100)
    expect(server.reads()).toEqual([step(1, 5)])
    server.tell({ degraded: true })
    await pass(20)
    server.requests.length = 0
    const f = server.feed('a')
    for (let i = 0; i < 3; i++) {
      f.write([{ key: 'z', value: i }])
      server.signal('a', 100)
    }
    await pass(200)
    expect(server.reads()[0]).toBe(step(5, 8))
    expectSame(feed.items, 'a')
  })

  it('pulls the newest snapshot where snapshots are pulled', async () => {
    const { feed } = await follow()
    server.headers = { 'Doorbell-Pull': 'snapshot' }
    server.write('a', { key: 'y', value: 0 })
    await pass(50)
    server.requests.length = 0
    await behind(3, 3)
    await pass(2_000)
    expect(server.reads()).toEqual(['a?at_least=' + e(5)])
    expectSame(feed.items, 'a')
  })

  it('in shared tabs the one that leads goes, and the others take the steps from it', async () => {
    const browser = new FakeBrowser()
    const open = (id: string) => {
      vi.stubGlobal('navigator', { locks: browser.locks(id), onLine: true })
      vi.stubGlobal('BroadcastChannel', browser.channelClass(id))
    }
    open('t1')
    const { feed } = await follow({ tabs: 'app' })
    open('t2')
    const other = connect({ tabs: 'app' }).feed('a')
    other.subscribe(() => {})
    await pass(100)
    await behind(4, 4)
    await pass(2_000)
    expect(server.reads()).toEqual([step(1, 2), step(2, 3), step(3, 4), step(4, 5)])
    expectSame(feed.items, 'a')
    expectSame(other.items, 'a')
    expect(other.status.state).toBe('live')
  })
})
