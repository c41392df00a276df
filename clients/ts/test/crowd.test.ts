import { beforeEach, describe, expect, it, vi } from 'vitest'
import { FakeBrowser } from './fake/browser.js'
import { connect, expectSame, pass, server, useFakes } from './fake/setup.js'

useFakes()

/** What a cache holds: the answers that those had who were on time. By path and query. */
let cache: Map<string, object>
const e = (seq: number) => '0k00001-' + seq
const step = (from: number, to = from + 1) => `a/changes?since=${e(from)}&at_least=${e(to)}`

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

/** Writes of `size` changes that are signalled with a spread, so that this client is late. A cache has the first `cached` of the steps. */
const behind = async (writes: number, cached: number, size = 1, signalled = (_: number) => true) => {
  const f = server.feed('a')
  for (let i = 0; i < writes; i++) {
    const from = f.seq
    f.write(Array.from({ length: size }, (_, n) => ({ key: 'k' + i + n, value: i })))
    if (i < cached) cache.set(step(from), f.read(e(from), '', 1000))
    if (signalled(i)) server.signal('a', 3_000)
    await pass(20)
  }
  expect(server.reads()).toEqual([])
}

const unavailable = () => Response.json({ code: 'behind', status: 503 }, { status: 503, headers: { 'Retry-After': '2' } })

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
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4)])
    expect(new Set(asked.slice(1)).size, 'in parallel').toBe(1)
    expectSame(feed.items, 'a')
    expect(feed.status).toMatchObject({ state: 'live', error: undefined })
  })

  it('asks once where nothing caches: the first answer is the newest already', async () => {
    const { feed } = await follow()
    await behind(4, 0)
    await pass(2_000)
    expect(server.reads()).toEqual([step(1)])
    expectSame(feed.items, 'a')
  })

  it('drops a step that another has led over', async () => {
    const { feed } = await follow()
    await behind(4, 1)
    await pass(2_000)
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4)])
    expectSame(feed.items, 'a')
    expect(feed.status.state).toBe('live')
  })

  it('has no use for what others were told later: the places are seqs where changes come singly', async () => {
    const { feed } = await follow()
    await behind(6, 6, 1, (i) => i % 3 === 2) // it is told 4 and 7
    await pass(3_000)
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4), step(5), step(6)])
    expectSame(feed.items, 'a')
  })

  it('begins steps at the heads where writes have several changes', async () => {
    const { feed } = await follow()
    await behind(4, 4, 3)
    await pass(3_000)
    expect(server.reads()).toEqual([step(1), step(4), step(7), step(10)])
    expectSame(feed.items, 'a')
  })

  it('takes heads that come while it asks for no sign of a cache', async () => {
    const { feed } = await follow()
    server.latency = 50
    const f = server.feed('a')
    f.write([{ key: 'y', value: 2 }])
    cache.set(step(1), f.read(e(1), '', 1000)) // the answer was under way
    server.signal('a')
    await pass(20)
    for (let i = 0; i < 3; i++) server.write('a', { key: 'z', value: i })
    await pass(400)
    expect(server.reads()).toEqual([step(1), step(2)])
    expectSame(feed.items, 'a')
  })

  it('waits as it was told with the heads that come while it asks', async () => {
    const { feed } = await follow()
    await behind(4, 4)
    server.latency = 50
    await pass(1_450) // asked, and on the way
    server.latency = 5
    server.feed('a').write([{ key: 'z', value: 1 }])
    server.signal('a', 2_000)
    await pass(900)
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4)])
    await pass(200)
    expect(server.reads().slice(4)).toEqual([step(5)])
    expectSame(feed.items, 'a')
  })

  it('asks for steps three times, and then for the last milestone', async () => {
    const { feed } = await follow()
    await behind(24, 24, 2) // of the heads it has forgotten all up to 33
    await pass(3_000)
    const known = [35, 37, 39, 41, 43, 45, 47].map((seq) => step(seq))
    expect(server.reads()).toEqual([step(1), step(3), ...known, step(5), ...known, step(7), ...known, step(9, 48)])
    expectSame(feed.items, 'a')
    expect(feed.status.state).toBe('live')
  })

  it.each([
    ['49 seqs by steps', 49, [step(1), ...Array.from({ length: 48 }, (_, i) => step(2 + i))]],
    ['more by the last milestone', 50, [step(1, 48)]],
  ])('goes over what it has not been told: %s', async (_, changes, reads) => {
    const { feed } = await follow()
    await behind(changes, changes)
    await pass(3_000)
    expect(server.reads()).toEqual(reads)
    expectSame(feed.items, 'a')
  })

  it('goes any way by steps of which it was told all', async () => {
    const { feed } = await follow()
    await behind(16, 16, 10)
    await pass(3_000)
    expect(server.reads()).toEqual(Array.from({ length: 16 }, (_, i) => step(1 + 10 * i)))
    expectSame(feed.items, 'a')
  })

  it('asks for the newest after a step that failed, and not before it may', async () => {
    const { feed } = await follow()
    await behind(4, 4)
    const { meddle } = server
    server.meddle = (r) => (r.search === '?' + step(2).split('?')[1] ? unavailable() : meddle!(r))
    await pass(1_800)
    server.meddle = meddle
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4)])
    expect(feed.cursor).toBe(e(2))
    await pass(1_000)
    expect(server.reads()).toHaveLength(4)
    await pass(3_000)
    expect(server.reads().slice(4)).toEqual([step(2, 5)])
    expectSame(feed.items, 'a')
  })

  it('asks for the newest after the first step failed', async () => {
    const { feed } = await follow()
    await behind(4, 4)
    server.meddle = unavailable
    await pass(1_800)
    server.meddle = undefined
    await pass(4_000)
    expect(server.reads()).toEqual([step(1), step(1, 5)])
    expectSame(feed.items, 'a')
  })

  it('does not mind the failure of a step that it does not need', async () => {
    const { feed } = await follow()
    await behind(4, 1)
    const { meddle } = server
    server.meddle = (r) => (r.search.includes('since=' + e(3)) ? unavailable() : meddle!(r))
    await pass(3_000)
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4)])
    expectSame(feed.items, 'a')
    expect(feed.status).toMatchObject({ state: 'live', error: undefined })
  })

  it('reads the pages of the first step to their end, and then asks for the newest', async () => {
    const { feed } = await follow()
    server.limit = 2
    await behind(7, 0)
    const f = server.feed('a')
    cache.set(step(1), f.read(e(1), '', 2))
    cache.set(step(3, 2), { ...f.read(e(3), '', 2), more: false }) // there was no more of it
    await pass(3_000)
    expect(server.reads()).toEqual([step(1), step(3, 2), step(5, 8), step(7, 8)])
    expectSame(feed.items, 'a')
  })

  it('asks for the newest after a later step that is not the last page', async () => {
    const { feed } = await follow()
    await behind(6, 1)
    server.limit = 2
    await pass(3_000)
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4), step(5), step(6), step(4, 7), step(6, 7)])
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

  it('leaves the steps where a new epoch is signalled meanwhile', async () => {
    const { feed } = await follow()
    await behind(4, 4)
    server.latency = 50
    await pass(1_440) // asked, and on the way
    expect(server.reads()).toEqual([])
    server.latency = 5
    server.drop('a')
    server.write('a', { key: 'y', value: 2 })
    await pass(100)
    expect(server.reads()).toEqual([step(1), 'a?at_least=0k00002-1'])
    expectSame(feed.items, 'a')
  })

  it('is reset where a new epoch is signalled between the pages of a step', async () => {
    const { feed } = await follow()
    server.limit = 2
    await behind(4, 1)
    cache.set(step(1), server.feed('a').read(e(1), '', 2))
    server.latency = 50
    await pass(1_440) // asked, and on the way
    server.latency = 5
    server.drop('a')
    server.write('a', { key: 'y', value: 2 })
    await pass(100)
    expect(server.reads()).toEqual([step(1), step(3, 2), 'a?at_least=0k00002-1'])
    expectSame(feed.items, 'a')
  })

  it('asks for the last milestone when a subscription finds it far behind, and for the newest while the gateway is degraded', async () => {
    const { feed } = await follow()
    const f = server.feed('a')
    for (let i = 0; i < 60; i++) f.write([{ key: 'y', value: 2 }])
    server.sockets[0]!.receive({ subscribed: { a: e(61) } })
    await pass(100)
    expect(server.reads()).toEqual([step(1, 48)])
    server.tell({ degraded: true })
    await pass(20)
    server.requests.length = 0
    for (let i = 0; i < 3; i++) {
      f.write([{ key: 'z', value: i }])
      server.signal('a', 100)
    }
    await pass(200)
    expect(server.reads()[0]).toBe(step(61, 64))
    expectSame(feed.items, 'a')
  })

  it('goes on to the newest in the middle of a walk', async () => {
    server.limit = 10
    for (let i = 0; i < 30; i++) server.write('a', { key: 'k' + i, value: i })
    const db = connect()
    server.latency = 50
    const feed = db.feed('a')
    feed.subscribe(() => {})
    await pass(120)
    expect(server.reads()).toHaveLength(2)
    server.latency = 5
    server.write('a', { key: 'y', value: 2 })
    await pass(10)
    db.wake() // which gives up what is under way
    await pass(100)
    expect(server.reads()[2]).toBe(`a/changes?since=${e(20)}~30&at_least=${e(31)}`)
    expectSame(feed.items, 'a')
  })

  it('knows no steps on a long poll', async () => {
    const { feed } = await follow({ transports: ['long-poll'] })
    await pass(10_000)
    expect(feed.status.transport).toBe('long-poll')
    server.requests.length = 0
    for (let i = 0; i < 3; i++) server.feed('a').write([{ key: 'y', value: i }])
    feed.puller.expect(e(4))
    await pass(20)
    expect(server.reads()).toEqual([step(1, 4)])
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
    vi.mocked(Math.random).mockReturnValueOnce(0.6) // tabs are told apart by it
    const other = connect({ tabs: 'app' }).feed('a')
    other.subscribe(() => {})
    await pass(100)
    await behind(4, 4)
    await pass(2_000)
    expect(server.reads()).toEqual([step(1), step(2), step(3), step(4)])
    expectSame(feed.items, 'a')
    expectSame(other.items, 'a')
    expect(other.status.state).toBe('live')
  })
})
