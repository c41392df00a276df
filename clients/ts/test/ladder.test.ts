import { describe, expect, it } from 'vitest'
import type { Link } from '../src/index.js'
import { connect, expectSame, pass, server, useFakes } from './fake/setup.js'

useFakes()

const follow = async (ms = 100, o = {}) => {
  const db = connect(o)
  const links: Link[] = []
  db.onLink((l) => links.push(l))
  const feed = db.feed('a')
  feed.subscribe(() => {})
  await pass(ms)
  return { db, feed, links, transport: () => db.link.transport }
}

const write = async (value: number) => {
  server.write('a', { key: 'x', value })
  await pass(100)
}

describe('fallback', () => {
  it('WebSocket refused: SSE, at once', async () => {
    server.websocket = 'refused'
    const { feed, transport } = await follow(100)
    expect(transport()).toBe('sse')
    await write(1)
    expect(feed.get('x')).toBe(1)
    expect(feed.status.state).toBe('live')
  })

  it('WebSocket swallowed: SSE within 3 s', async () => {
    server.websocket = 'silent'
    const { transport } = await follow(3_000)
    expect(transport()).toBe('sse')
  })

  it('SSE buffered: long poll, which brings pages without further reads', async () => {
    server.websocket = 'refused'
    server.sse = 'silent'
    server.write('a', { key: 'y', value: 0 })
    const { feed, transport } = await follow(4_000)
    expect(transport()).toBe('long-poll')
    const before = server.reads().length
    await write(1)
    await write(2)
    expect(feed.get('x')).toBe(2)
    expect(server.reads().length).toBe(before)
    expect(feed.status.state).toBe('live')
  })

  it('nothing but short requests: polling', async () => {
    server.websocket = server.sse = server.longPoll = 'refused'
    const { feed, transport } = await follow(200)
    expect(transport()).toBe('polling')
    server.write('a', { key: 'x', value: 1 })
    await pass(3_000)
    expect(feed.get('x')).toBe(1)
  })

  it('long polls that are cut again and again: polling', async () => {
    server.websocket = 'refused'
    server.sse = 'refused'
    const { transport } = await follow(500)
    expect(transport()).toBe('long-poll')
    for (let i = 0; i < 6; i++) {
      server.longPoll = 'refused' // the one that is held fails when it is woken
      server.write('a', { key: 'x', value: i })
      await pass(500)
      server.longPoll = 'ok'
      await pass(1_500)
    }
    server.longPoll = 'refused'
    await pass(100)
    server.write('a', { key: 'x', value: 9 })
    await pass(5_000)
    expect(transport()).toBe('polling')
  })

  it('only the transports that are allowed', async () => {
    const { transport } = await follow(100, { transports: ['sse'] })
    expect(transport()).toBe('sse')
    expect(server.sockets).toHaveLength(0)
  })
})

describe('climbing back', () => {
  it.each([
    ['SSE', { websocket: 'refused' }],
    ['long poll', { websocket: 'silent', sse: 'silent' }],
    ['polling', { websocket: 'silent', sse: 'silent', longPoll: 'refused' }],
  ] as const)('from %s to WebSocket within 30 s, and the state is right', async (_, blocked) => {
    Object.assign(server, blocked)
    const { feed, transport } = await follow(60_000)
    expect(transport()).not.toBe('websocket')
    Object.assign(server, { websocket: 'ok', sse: 'ok', longPoll: 'ok' })
    await pass(30_000)
    expect(transport()).toBe('websocket')
    expect(server.streams).toBe(0)
    await write(1)
    expectSame(feed.items, 'a')
  })

  it('keeps what works while it tries', async () => {
    server.websocket = 'silent'
    const { links } = await follow(120_000)
    expect(links.filter((l) => l.transport !== 'none').map((l) => l.transport)).toEqual(['sse'])
  })
})

describe('lost connections', () => {
  it('comes back with jitter, and polls meanwhile', async () => {
    const { feed, transport } = await follow(20_000)
    server.cut()
    server.websocket = server.sse = server.longPoll = 'refused'
    await pass(10)
    expect(transport()).toBe('polling')
    server.write('a', { key: 'x', value: 1 })
    await pass(3_000)
    expect(feed.get('x')).toBe(1)
    server.websocket = 'ok'
    await pass(31_000)
    expect(transport()).toBe('websocket')
  })

  it('says offline while nothing answers, and since when the state may be old', async () => {
    server.write('a', { key: 'x', value: 1 })
    const { feed } = await follow(1_000)
    const at = Date.now()
    server.down = true
    server.cut()
    await pass(10_000)
    expect(feed.status.state).toBe('offline')
    expect(feed.status.staleSince).toBeLessThanOrEqual(at)
    expect(feed.status.staleSince).toBeGreaterThan(at - 2_000)
    server.down = false
    await pass(31_000)
    expect(feed.status).toMatchObject({ state: 'live', staleSince: 0 })
  })

  it('notices a gateway that is silent', async () => {
    const { feed } = await follow()
    server.sockets[0]!.dead = true
    server.feed('a').write([{ key: 'x', value: 1 }])
    await pass(37_000)
    expect(feed.get('x')).toBe(1)
    expect(server.sockets).toHaveLength(1)
    expect(server.sockets[0]!.dead).toBe(false)
  })

  it('a proxy that kills sockets: another transport, and sockets again later', async () => {
    const { transport } = await follow()
    for (let i = 0; i < 40 && transport() !== 'sse'; i++) {
      for (const s of [...server.sockets]) s.drop(1006)
      await pass(1_000)
    }
    expect(transport()).toBe('sse')
    await pass(25_000)
    expect(transport()).toBe('sse')
    await pass(30_000)
    expect(transport()).toBe('websocket')
  })

  it('goaway: the next connection is there before the old one goes', async () => {
    const { links } = await follow(20_000)
    server.tell({ goaway: { reason: 'drain', in_ms: 5_000 } })
    await pass(6_000)
    expect(links.at(-1)!.transport).toBe('websocket')
    expect(links.some((l) => l.transport === 'polling')).toBe(false)
    expect(server.sockets).toHaveLength(1)
  })

  it('4029: stays away as long as it was told', async () => {
    await follow(20_000)
    server.sockets[0]!.drop(4029, '25000 ms')
    await pass(24_000)
    expect(server.sockets).toHaveLength(0)
    await pass(3_000)
    expect(server.sockets).toHaveLength(1)
  })

  it('4003: never again over signals', async () => {
    await follow(20_000)
    server.sockets[0]!.drop(4003)
    await pass(300_000)
    expect(server.sockets).toHaveLength(0)
  })

  it('after sleep it is fresh within 2 s, though the socket is dead without a word', async () => {
    const { feed } = await follow(20_000)
    server.sockets[0]!.dead = true
    server.feed('a').write([{ key: 'x', value: 1 }])
    const { vi } = await import('vitest')
    vi.setSystemTime(Date.now() + 3_600_000) // the clock jumps, timers did not run
    await pass(2_000)
    expect(feed.get('x')).toBe(1)
    await pass(2_000)
    expect(server.sockets.some((s) => !s.dead)).toBe(true)
  })
})

describe('what is followed', () => {
  it('many feeds share a socket; the last one to go hangs up', async () => {
    const db = connect()
    const stops = Array.from({ length: 310 }, (_, i) => db.feed('f:' + i).subscribe(() => {}))
    await pass(200)
    expect(server.sockets).toHaveLength(1)
    const commands = server.sockets[0]!.commands
    expect(commands.map((c) => Object.keys(c.subscribe ?? {}).length)).toEqual([300, 10])
    stops[0]!()
    await pass(1_500)
    expect(commands.at(-1)).toEqual({ unsubscribe: ['f:0'] })
    for (const stop of stops) stop()
    await pass(1_500)
    expect(server.sockets).toHaveLength(0)
    expect(db.link.transport).toBe('none')
  })

  it('a component that comes back at once changes nothing', async () => {
    const { feed } = await follow()
    const stop = feed.subscribe(() => {})
    stop()
    feed.subscribe(() => {})
    await pass(2_000)
    expect(server.sockets[0]!.commands.filter((c) => c.subscribe || c.unsubscribe)).toHaveLength(1)
  })

  it('SSE and long poll begin again with other feeds', async () => {
    server.websocket = 'refused'
    const { db } = await follow()
    const b = db.feed('b')
    b.subscribe(() => {})
    await pass(100)
    expect(server.requests.filter((r) => r.path === '/v1/signals').at(-1)!.search).toBe('?feed=a&feed=b')
    expect(server.streams).toBe(1)
    server.write('b', { key: 'x', value: 1 })
    await pass(50)
    expect(b.get('x')).toBe(1)
  })

  it('members and frames that it does not know are skipped', async () => {
    const { feed } = await follow()
    const { cursor } = server.feed('a').write([{ key: 'x', value: 'new' }])
    server.sockets[0]!.receive({ news: { of: ['another', 'version'] }, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' })
    server.sockets[0]!.receive({ changed: { a: cursor }, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', later: null })
    await pass(50)
    expect(feed.get('x')).toBe('new')
    expect(feed.status).toMatchObject({ state: 'live', transport: 'websocket', error: undefined })
  })

  it('more feeds than one long poll takes are asked for some after the others', async () => {
    server.websocket = server.sse = 'refused'
    const db = connect()
    const names = Array.from({ length: 1_200 }, (_, i) => 'f:' + i)
    for (const name of names) {
      server.feed(name).write([{ key: 'x', value: 0 }])
      db.feed(name).subscribe(() => {})
    }
    await pass(5_000)
    expect(db.link.transport).toBe('long-poll')
    for (const name of [names[0]!, names[1_199]!]) server.write(name, { key: 'x', value: 1 })
    await pass(45_000)
    expect(db.feed('f:0').get('x')).toBe(1)
    expect(db.feed('f:1199').get('x')).toBe(1)
    const polls = server.requests.filter((r) => r.path === '/v1/poll').map((r) => Object.keys(r.body.feeds).length)
    expect(Math.max(...polls)).toBe(1_000)
    expect(polls).toContain(200)
    expect(db.link.transport).toBe('long-poll')
  })
})
