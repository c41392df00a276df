import { describe, expect, it, vi } from 'vitest'
import { DoorbellError } from '../src/errors.js'
import { parsePage } from '../src/page.js'
import { connect, expectSame, pass, server, useFakes } from './fake/setup.js'

useFakes()

const follow = async (name = 'a', o = {}) => {
  const db = connect(o)
  const feed = db.feed(name)
  const changes: { keys: string[]; reset: boolean }[] = []
  feed.subscribe((c) => changes.push({ keys: [...c.keys], reset: c.reset }))
  await pass(100)
  return { db, feed, changes }
}

describe('catching up', () => {
  it('reads a snapshot, then exactly the changes since', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    expect(feed.get('x')).toBe(1)
    const head = server.write('a', { key: 'y', value: { z: [1] } }, { key: 'x', deleted: true })
    await pass(50)
    expectSame(feed.items, 'a')
    expect(feed.cursor).toBe(head)
    expect(server.reads()).toEqual(['a', 'a/changes?since=0k00001-1&at_least=0k00001-2'])
    expect(feed.status).toMatchObject({ state: 'live', transport: 'websocket', staleSince: 0 })
  })

  it('needs no read when it is where the gateway says', async () => {
    server.write('a', { key: 'x', value: 1 })
    await follow()
    await pass(60_000)
    expect(server.reads()).toEqual(['a'])
  })

  it('combines signals while a read is under way', async () => {
    const { feed } = await follow()
    server.latency = 50
    for (let i = 0; i < 20; i++) {
      server.write('a', { key: 'x', value: i })
      await pass(5)
    }
    await pass(400)
    expect(feed.get('x')).toBe(19)
    expect(server.reads().length).toBeLessThan(5)
  })

  it('walks through a snapshot of many pages, and shows it whole', async () => {
    server.limit = 10
    for (let i = 0; i < 35; i++) server.write('a', { key: 'k' + i, value: i })
    server.latency = 20
    const db = connect()
    const feed = db.feed('a')
    const sizes = new Set<number>()
    feed.subscribe(() => sizes.add(feed.items.size))
    await pass(50)
    server.write('a', { key: 'k0', deleted: true }, { key: 'k34', value: 'new' }) // in the middle of the walk
    await pass(500)
    expectSame(feed.items, 'a')
    expect([...sizes].every((n) => n >= 34)).toBe(true)
    expect(server.reads()[1]).toMatch(/^a\/changes\?since=0k00001-10~35(&|$)/)
  })

  it('takes a delta of many pages, and loses none of them', async () => {
    server.write('a', { key: 'k0', value: 0 })
    const { feed, db } = await follow()
    server.limit = 10
    for (let i = 0; i < 35; i++) server.feed('a').write([{ key: 'k' + i, value: 'new' + i }])
    db.wake()
    await pass(500)
    expectSame(feed.items, 'a')
  })

  it('drops what was trimmed', async () => {
    for (let i = 0; i < 5; i++) server.write('a', { key: 'k' + i, value: i })
    const { feed, changes } = await follow()
    server.feed('a').trim(3)
    server.write('a', { key: 'k9', value: 9 })
    await pass(50)
    expectSame(feed.items, 'a')
    expect(changes.at(-1)!.keys.sort()).toEqual(['k0', 'k1', 'k2', 'k9'])
  })

  it('pulls the pinned snapshot where the server says so, and sees what is gone from it', async () => {
    server.headers = { 'Doorbell-Pull': 'snapshot' }
    server.write('a', { key: 'x', value: 1 }, { key: 'y', value: 2 })
    const { feed, changes } = await follow()
    server.write('a', { key: 'x', deleted: true }, { key: 'z', value: 3 })
    await pass(50)
    expect(server.reads().at(-1)).toBe('a?at_least=0k00001-4')
    expectSame(feed.items, 'a')
    expect(changes.at(-1)).toEqual({ keys: expect.arrayContaining(['x', 'z']), reset: false })
    expect(changes.at(-1)!.keys).toHaveLength(2)
  })

  it('waits a random part of spread', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    const { feed } = await follow()
    server.feed('a').write([{ key: 'x', value: 1 }])
    server.signal('a', 800)
    await pass(380)
    expect(feed.items.size).toBe(0)
    await pass(100)
    expect(feed.get('x')).toBe(1)
  })

  it('is empty while there is no such feed, and hears of its birth', async () => {
    const { feed } = await follow('unborn')
    expect(feed.status.state).toBe('live')
    server.write('unborn', { key: 'x', value: 1 })
    await pass(50)
    expect(feed.get('x')).toBe(1)
  })
})

describe('resets', () => {
  it('goes straight to the pinned snapshot when another epoch is signalled', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed, changes } = await follow()
    server.drop('a')
    server.write('a', { key: 'y', value: 2 })
    await pass(50)
    expectSame(feed.items, 'a')
    expect(changes.at(-1)!.reset).toBe(true)
    expect(server.reads().filter((r) => r.includes('since='))).toEqual([])
  })

  it('takes the snapshot that a 410 names, and keeps what it shows until then', async () => {
    server.write('a', { key: 'x', value: 1 }, { key: 'y', value: 2 })
    const { feed, db } = await follow()
    db.close()
    server.write('a', { key: 'x', deleted: true }, { key: 'z', value: 3 })
    server.feed('a').forget(3)
    const again = connect().feed('a')
    const seen: number[] = []
    again.replica.have = again.replica.from = feed.replica.have
    again.subscribe(() => seen.push(again.items.size))
    await pass(100)
    expectSame(again.items, 'a')
    expect(server.reads().slice(-2)).toEqual(['a/changes?since=0k00001-2', 'a?at_least=0k00001-4'])
  })

  it('stops after three within 10 s, backs off and reports', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    server.meddle = (r) => r.path.endsWith('changes')
      ? Response.json({ code: 'reset', status: 410, snapshot: '/v1/feeds/a?at_least=' + server.feed('a').head }, { status: 410 })
      : undefined
    for (let i = 0; i < 3; i++) {
      server.write('a', { key: 'x', value: i })
      await pass(100)
    }
    expect(feed.status.error?.code).toBe('reset_loop')
    const before = server.reads().length
    await pass(14_000)
    expect(server.reads().length).toBe(before)
    server.meddle = undefined
    await pass(17_000)
    expectSame(feed.items, 'a')
    expect(feed.status.state).toBe('live')
  })

  it('rests also when it hears of them while it reads', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    server.latency = 50
    const head = server.write('a', { key: 'x', value: 2 })
    await pass(80) // asked, and on the way
    for (let i = 0; i < 3; i++) feed.puller.refused(new DoorbellError('reset', '', 410, 0, '/v1/feeds/a?at_least=' + head))
    await pass(14_000)
    expect(server.reads()).toHaveLength(2)
    expect(feed.status.error?.code).toBe('reset_loop')
    await pass(17_000)
    expectSame(feed.items, 'a')
  })

  it('starts over when the server lost what this client has seen', async () => {
    for (let i = 0; i < 5; i++) server.write('a', { key: 'k' + i, value: i })
    const { feed } = await follow()
    const f = server.feed('a')
    f.seq = 3
    f.rows.delete('k3')
    f.rows.delete('k4')
    server.cut()
    await pass(2_000)
    expectSame(feed.items, 'a')
    expect(feed.cursor).toBe(f.head)
  })
})

describe('answers that do not fit', () => {
  it.each([
    ['a proxy that drops the query', (r: any) => ({ ...r, query: new URLSearchParams() })],
    ['a cache that gives another delta', (r: any) => (r.query.has('since') ? { ...r, query: new URLSearchParams({ since: '0k00001-1' }) } : undefined)],
  ])('%s: a clear error, no loop, and the state stays right', async (_, meddle) => {
    server.write('a', { key: 'x', value: 1 }, { key: 'y', value: 2 })
    const { feed } = await follow()
    server.meddle = meddle as any
    server.write('a', { key: 'z', value: 3 })
    await pass(60_000)
    expect(feed.status.error?.code).toBe('wrong_answer')
    expect(feed.status.error?.message).toMatch(/query/)
    expect(server.reads().length).toBeLessThan(25)
    expect([...feed.items.keys()]).toEqual(['x', 'y'])
    server.meddle = undefined
    await pass(40_000)
    expectSame(feed.items, 'a')
  })

  it('drops one that something else has overtaken', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    const f = server.feed('a')
    f.write([{ key: 'x', value: 2 }])
    const late = f.read('0k00001-1', '', 10)
    server.meddle = () => Response.json(late)
    server.latency = 50
    server.signal('a')
    await pass(80) // asked, and on the way
    f.write([{ key: 'x', value: 3 }, { key: 'y', value: 4 }])
    feed.puller.offer(parsePage(f.read('0k00001-1', '', 10)))
    await pass(100)
    expect(feed.cursor).toBe('0k00001-4')
    expectSame(feed.items, 'a')
  })

  it('ignores a snapshot of the same epoch that is older', async () => {
    server.headers = { 'Doorbell-Pull': 'snapshot' }
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    const old = server.feed('a').read('', '', 10)
    server.write('a', { key: 'x', value: 2 })
    await pass(50)
    server.meddle = (r) => (r.search.includes('at_least') ? Response.json(old) : undefined)
    server.write('a', { key: 'x', value: 3 })
    await pass(1_000)
    expect(feed.get('x')).toBe(2)
    expect(feed.status.error?.code).toBe('wrong_answer')
  })

  it('calls a portal what it is', async () => {
    server.write('a', { key: 'x', value: 1 })
    server.meddle = () => new Response('<html>Please sign in</html>', { headers: { 'Content-Type': 'text/html' } })
    const { feed } = await follow()
    expect(feed.status.error?.code).toBe('bad_answer')
  })
})

describe('polling', () => {
  it('follows Doorbell-Poll-After', async () => {
    server.websocket = server.sse = server.longPoll = 'refused'
    server.headers = { 'Doorbell-Poll-After': '7' }
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    await pass(5_000)
    const before = server.reads().length
    await pass(70_000)
    const n = server.reads().length - before
    expect(n).toBeGreaterThanOrEqual(8)
    expect(n).toBeLessThanOrEqual(11)
    expect(feed.status).toMatchObject({ state: 'polling', transport: 'polling' })
  })

  it('polls as well while the gateway is degraded', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    server.tell({ degraded: true })
    await pass(20)
    server.feed('a').write([{ key: 'x', value: 2 }]) // and nobody signals
    await pass(3_000)
    expect(feed.get('x')).toBe(2)
    expect(feed.status.state).toBe('polling')
    server.tell({ degraded: false })
    await pass(20)
    expect(feed.status.state).toBe('live')
  })

  it('polls a feed whose head is not known until it is', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    server.tell({ changed: { a: null } })
    await pass(20)
    expect(feed.status.state).toBe('polling')
    server.write('a', { key: 'x', value: 2 })
    await pass(20)
    expect(feed.status.state).toBe('live')
  })

  it('waits as long as Retry-After says', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow()
    server.meddle = () => Response.json({ code: 'overloaded', status: 503 }, { status: 503, headers: { 'Retry-After': '20' } })
    server.write('a', { key: 'x', value: 2 })
    await pass(100)
    const before = server.reads().length
    server.meddle = undefined
    await pass(19_000)
    expect(server.reads().length).toBe(before)
    await pass(12_000)
    expect(feed.get('x')).toBe(2)
  })
})

describe('whatever happens', () => {
  it('what a client builds is what a snapshot says, at every quiet moment', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      let state = seed
      const rnd = (n: number) => (state = (state * 48271) % 2147483647) % n
      const name = 'p:' + seed
      server.limit = 5
      server.headers = rnd(2) ? { 'Doorbell-Pull': 'snapshot' } : {}
      const db = connect()
      const feed = db.feed(name)
      feed.subscribe(() => {})
      for (let step = 0; step < 60; step++) {
        const what = rnd(12)
        if (what < 7) server.write(name, { key: 'k' + rnd(12), value: step }, ...(rnd(3) ? [] : [{ key: 'k' + rnd(12), deleted: true }]))
        else if (what === 7) server.cut()
        else if (what === 8) server.feed(name).forget(server.feed(name).seq - rnd(4))
        else if (what === 9 && !rnd(4)) server.drop(name)
        else if (what === 10) db.wake()
        else if (what === 11) void feed.put('mine' + rnd(3), step).catch(() => 0)
        await pass(rnd(3) ? rnd(20) : rnd(400))
      }
      await pass(40_000)
      expectSame(feed.items, name)
      expect(feed.cursor, 'seed ' + seed).toBe(server.feed(name).head)
      db.close()
    }
  })
})
