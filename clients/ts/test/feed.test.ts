import { describe, expect, it } from 'vitest'
import { connect, expectSame, pass, server, useFakes } from './fake/setup.js'

useFakes()

const follow = async (name = 'a') => {
  server.write(name, { key: 'x', value: 1 })
  const db = connect()
  const feed = db.feed<any>(name)
  feed.subscribe(() => {})
  await pass(100)
  return { db, feed }
}

describe('writes', () => {
  it('are seen at once, and adopted without a read', async () => {
    const { feed } = await follow()
    const before = server.reads().length
    const written = feed.put('x', 2)
    expect(feed.get('x')).toBe(2)
    await pass(50)
    expect(await written).toBe(server.feed('a').head)
    expect(feed.cursor).toBe(server.feed('a').head)
    await pass(5_000)
    expect(server.reads().length).toBe(before)
    expect(feed.cursorOf('x')).toBe(server.feed('a').head)
  })

  it('pull what others wrote before, and never flicker', async () => {
    const { feed } = await follow()
    server.feed('a').write([{ key: 'y', value: 'other' }]) // not signalled yet
    const seen: unknown[] = []
    feed.subscribe(() => seen.push(feed.get('x')))
    void feed.put('x', 2)
    await pass(200)
    expect(new Set(seen)).toEqual(new Set([2]))
    expectSame(feed.items, 'a')
  })

  it('are taken back when the server refuses them', async () => {
    const { feed } = await follow()
    server.meddle = (r) => (r.method === 'POST' ? Response.json({ code: 'too_large', status: 413, detail: 'no' }, { status: 413 }) : undefined)
    const put = feed.put('x', 'huge')
    const del = feed.delete('y')
    const refused = expect(put).rejects.toMatchObject({ code: 'too_large', status: 413 })
    await Promise.all([refused, expect(del).rejects.toThrow(), pass(50)])
    expect(feed.get('x')).toBe(1)
  })

  it('wait while the server is away, keep their order, and happen once', async () => {
    const { feed, db } = await follow()
    server.down = true
    const first = feed.put('x', 'first')
    const second = feed.put('x', 'second')
    await pass(20_000)
    expect(feed.get('x')).toBe('second')
    server.down = false
    db.wake()
    await pass(100)
    await Promise.all([first, second])
    expect(feed.get('x')).toBe('second')
    expect(server.feed('a').seq).toBe(3)
    const keys = server.requests.filter((r) => r.method === 'POST').map((r) => r.headers.get('Idempotency-Key'))
    expect(new Set(keys).size).toBe(2)
  })

  it('whose answer is lost are sent again with the same key', async () => {
    const { feed } = await follow()
    let lost = 0
    const { fetch } = server
    const { vi } = await import('vitest')
    vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
      const answer = await fetch(url, init)
      if (init.method === 'POST' && lost++ === 0) throw new TypeError('reset')
      return answer
    })
    void feed.put('y', 1)
    await pass(2_000)
    expect(lost).toBe(2)
    expect(server.feed('a').seq).toBe(2)
    expectSame(feed.items, 'a')
  })

  it('can be given up', async () => {
    const { feed } = await follow()
    server.down = true
    const c = new AbortController()
    const put = feed.put('x', 2, { signal: c.signal })
    await pass(100)
    c.abort(new Error('enough'))
    await expect(put).rejects.toThrow('enough')
    expect(feed.get('x')).toBe(1)
  })

  it('make a feed that did not exist', async () => {
    const db = connect()
    const feed = db.feed<any>('born')
    feed.subscribe(() => {})
    await pass(100)
    void feed.put('x', 1)
    await pass(100)
    expectSame(feed.items, 'born')
    expect(feed.status.state).toBe('live')
  })

  it('several together are one transaction', async () => {
    const { feed } = await follow()
    void feed.write([{ key: 'x', deleted: true }, { key: 'y', value: 1 }, { key: 'z', value: 2 }])
    expect([...feed.items.keys()]).toEqual(['y', 'z'])
    await pass(50)
    expectSame(feed.items, 'a')
    expect(server.requests.filter((r) => r.method === 'POST')).toHaveLength(1)
  })
})

describe('following', () => {
  it('as a sequence: what is there, then changes, combined while the body runs', async () => {
    const { feed } = await follow()
    const seen: string[][] = []
    const end = new AbortController()
    const loop = (async () => {
      for await (const c of feed.changes({ signal: end.signal })) {
        seen.push([...c.keys].sort())
        await new Promise((r) => setTimeout(r, 500))
      }
    })()
    await pass(600)
    for (const key of ['a', 'b', 'c']) {
      server.write('a', { key, value: 1 })
      await pass(50)
    }
    await pass(1_000)
    end.abort()
    await pass(1_000)
    await loop
    expect(seen).toEqual([['x'], ['a'], ['b', 'c']])
  })

  it('ready() waits for all of it', async () => {
    server.write('a', { key: 'x', value: 1 })
    const feed = connect().feed('a')
    const ready = feed.ready()
    await pass(100)
    expect((await ready).get('x')).toBe(1)
  })

  it('ready() ends with its signal', async () => {
    server.down = true
    const ready = connect().feed('a').ready({ signal: AbortSignal.abort(new Error('no')) })
    await expect(ready).rejects.toThrow('no')
  })

  it('says that it catches up as soon as it is followed', async () => {
    server.write('a', { key: 'x', value: 1 })
    const feed = connect().feed('a')
    expect(feed.status.state).toBe('idle')
    feed.subscribe(() => {})
    expect(feed.status).toMatchObject({ state: 'catching-up', staleSince: 0 })
  })

  it('snapshot() is the same Map until something changes', async () => {
    const { feed } = await follow()
    const before = feed.snapshot()
    expect(feed.snapshot()).toBe(before)
    server.write('a', { key: 'x', value: 2 })
    await pass(50)
    expect(feed.snapshot()).not.toBe(before)
    expect(before.get('x')).toBe(1)
  })

  it('names that can not be are refused', () => {
    const db = connect()
    for (const name of ['', 'A', 'a/b', 'a:', 'a:b c', 'a'.repeat(40), 'a:' + 'x'.repeat(130)]) expect(() => db.feed(name), name).toThrow(TypeError)
    expect(() => connect({ url: 'ftp://x' })).toThrow(TypeError)
    expect(() => connect({ url: 'https://x/?a=b' })).toThrow(TypeError)
  })

  it('a listener that throws is alone with it', async () => {
    const { feed } = await follow()
    const { vi } = await import('vitest')
    const report = vi.fn()
    vi.stubGlobal('reportError', report)
    feed.subscribe(() => {
      throw new Error('mine')
    })
    server.write('a', { key: 'x', value: 2 })
    await pass(50)
    expect(feed.get('x')).toBe(2)
    expect(report).toHaveBeenCalledOnce()
  })
})

describe('signals alone', () => {
  it('tell where the feed is, and read nothing', async () => {
    const head = server.write('s', { key: 'x', value: 1 })
    const db = connect()
    const heard: object[] = []
    const stop = db.onSignal('s', (s) => heard.push(s))
    await pass(100)
    const next = server.write('s', { key: 'x', value: 2 })
    await pass(100)
    expect(heard).toEqual([
      { feed: 's', cursor: head, first: true },
      { feed: 's', cursor: next, first: false },
    ])
    expect(server.requests.filter((r) => r.path !== '/v1/signals')).toEqual([])
    stop()
    server.write('s', { key: 'x', value: 3 })
    await pass(100)
    expect(heard).toHaveLength(2)
  })

  it('come after a random part of spread', async () => {
    const db = connect()
    const heard: object[] = []
    db.onSignal('s', (s) => heard.push(s))
    await pass(100)
    const { vi } = await import('vitest')
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    server.feed('s').write([{ key: 'x', value: 1 }])
    server.signal('s', 1_000)
    await pass(400)
    expect(heard).toHaveLength(1)
    await pass(200)
    expect(heard).toHaveLength(2)
  })

  it('are asked for where there are none', async () => {
    server.websocket = server.sse = server.longPoll = 'refused'
    const db = connect()
    const heard: string[] = []
    db.onSignal('s', (s) => heard.push(s.cursor))
    await pass(5_000)
    const head = server.write('s', { key: 'x', value: 1 })
    await pass(10_000)
    expect(heard).toEqual(['', head])
    expect(server.requests.filter((r) => r.path.startsWith('/v1/feeds'))).toEqual([])
  })

  it('say nothing anew after a reconnection where nothing happened', async () => {
    server.write('s', { key: 'x', value: 1 })
    const db = connect()
    let n = 0
    db.onSignal('s', () => n++)
    await pass(20_000)
    server.cut()
    await pass(5_000)
    expect(n).toBe(1)
  })
})
