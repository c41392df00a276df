import { describe, expect, it, vi } from 'vitest'
import { connect, pass, server, useFakes } from './fake/setup.js'

useFakes()

describe('tokens', () => {
  it('travel in the handshake and in the Authorization header', async () => {
    server.publicReads = false
    server.tokens = new Set(['good'])
    server.write('a', { key: 'x', value: 1 })
    const feed = connect({ getToken: () => 'good' }).feed('a')
    feed.subscribe(() => {})
    await pass(100)
    expect(feed.get('x')).toBe(1)
    expect(server.sockets[0]!.protocols).toEqual(['doorbell.v1.json', 'bearer.good'])
  })

  it('one that is refused is replaced once, for all requests together', async () => {
    server.publicReads = false
    server.tokens = new Set(['new'])
    const getToken = vi.fn((refused?: string) => (refused ? 'new' : 'old'))
    const db = connect({ getToken })
    for (const name of ['a', 'b', 'c']) {
      server.write(name, { key: 'x', value: 1 })
      db.feed(name).subscribe(() => {})
    }
    await pass(2_000)
    for (const name of ['a', 'b', 'c']) expect(db.feed(name).get('x')).toBe(1)
    expect(getToken.mock.calls).toEqual([[undefined], ['old']])
    expect(db.link.transport).toBe('websocket')
  })

  it('expiry in a connection: a new one with a new token, and nothing is missed', async () => {
    server.publicReads = false
    server.tokens = new Set(['t1'])
    let n = 1
    const feed = connect({ getToken: (refused) => (refused ? 't' + ++n : 't' + n) }).feed('a')
    feed.subscribe(() => {})
    await pass(20_000)
    server.tokens = new Set(['t2'])
    server.feed('a').write([{ key: 'x', value: 1 }])
    server.sockets[0]!.drop(4001, 'expired')
    await pass(2_000)
    expect(feed.get('x')).toBe(1)
    expect(feed.status.state).toBe('live')
  })

  it('one that ends soon is replaced on the same connection', async () => {
    server.publicReads = false
    server.tokens = new Set(['t1', 't2'])
    const feed = connect({ getToken: (refused) => (refused ? 't2' : 't1') }).feed('a')
    feed.subscribe(() => {})
    await pass(100)
    server.tell({ expiring: { in_ms: 30_000 } })
    await pass(100)
    expect(server.sockets[0]!.commands.at(-1)).toEqual({ auth: 't2' })
    expect(server.sockets).toHaveLength(1)
  })

  it('over SSE the stream is begun again with another one, when it ends soon and when it has ended', async () => {
    server.publicReads = false
    server.websocket = 'refused'
    server.tokens = new Set(['t1', 't2', 't3'])
    let n = 1
    const db = connect({ getToken: (refused) => (refused ? 't' + ++n : 't1') })
    db.feed('a').subscribe(() => {})
    const streams = () => server.requests.filter((r) => r.path === '/v1/signals').map((r) => r.headers.get('Authorization'))
    await pass(20_000)
    server.tell({ expiring: { in_ms: 30_000 } })
    await pass(100)
    expect(streams()).toEqual(['Bearer t1', 'Bearer t2'])
    server.tokens = new Set(['t3'])
    server.tell({ close: { code: 4001, reason: 'expired' } })
    await pass(2_000)
    expect(streams().at(-1)).toBe('Bearer t3')
    expect(db.feed('a').status).toMatchObject({ state: 'live', transport: 'sse' })
  })

  it('one that is never good: denied, and no storm', async () => {
    server.publicReads = false
    server.tokens = new Set()
    server.write('a', { key: 'x', value: 1 })
    const db = connect({ getToken: () => 'bad' })
    db.feed('a').subscribe(() => {})
    await pass(60_000)
    expect(db.feed('a').status.state).toBe('denied')
    expect(server.requests.length).toBeLessThan(100)
    await expect(db.feed('a').ready()).rejects.toMatchObject({ status: 401 })
  })

  it('a feed that is denied says so, beside others that are not', async () => {
    const db = connect()
    db.feed('a').subscribe(() => {})
    db.feed('secret').subscribe(() => {})
    await pass(50)
    server.sockets[0]!.receive({ denied: { secret: 'forbidden' } })
    await pass(50)
    expect(db.feed('secret').status).toMatchObject({ state: 'denied', error: { code: 'forbidden' } })
    expect(db.feed('a').status.state).toBe('live')
  })

  it('what was denied is subscribed again with another token, and followed when that allows it', async () => {
    server.tokens = new Set(['t1', 't2'])
    server.publicReads = false
    const db = connect({ getToken: (refused) => (refused ? 't2' : 't1') })
    const feed = db.feed('secret')
    feed.subscribe(() => {})
    await pass(50)
    server.sockets[0]!.receive({ denied: { secret: 'forbidden' } })
    await pass(20_000)
    expect(feed.status.state).toBe('denied')
    expect(server.sockets[0]!.commands.filter((c) => c.subscribe)).toHaveLength(1)
    server.tell({ expiring: { in_ms: 30_000 } })
    await pass(50)
    expect(server.sockets[0]!.commands.slice(-2)).toMatchObject([{ auth: 't2' }, { subscribe: { secret: '' } }])
    expect(feed.status).toMatchObject({ state: 'live', error: undefined })
    expect(server.sockets).toHaveLength(1)
  })

  it('a feed of which nobody can tell right now is polled, and subscribed again after a while', async () => {
    server.write('a', { key: 'x', value: 1 })
    const feed = connect().feed('a')
    feed.subscribe(() => {})
    await pass(50)
    server.sockets[0]!.feeds.clear()
    server.sockets[0]!.receive({ denied: { a: 'unavailable' } })
    await pass(10)
    expect(feed.status.state).toBe('polling')
    server.feed('a').write([{ key: 'x', value: 2 }]) // and this client hears nothing of it
    await pass(3_000)
    expect(feed.get('x')).toBe(2)
    expect(server.sockets[0]!.commands.filter((c) => c.subscribe)).toHaveLength(2)
    expect(feed.status.state).toBe('live')
  })

  it('over SSE the stream is begun again for it', async () => {
    server.websocket = 'refused'
    const feed = connect().feed('a')
    feed.subscribe(() => {})
    await pass(50)
    server.tell({ denied: { a: 'unavailable' } })
    await pass(10)
    expect(feed.status.state).toBe('polling')
    await pass(2_000)
    expect(feed.status).toMatchObject({ state: 'live', transport: 'sse' })
  })
})

describe('public reads', () => {
  it('carry neither credentials nor headers once the namespace is known to be public', async () => {
    server.write('prices:x', { key: 'x', value: 1 })
    const db = connect({ getToken: () => 'good', credentials: 'include' })
    db.feed('prices:x').subscribe(() => {})
    await pass(100)
    server.write('prices:x', { key: 'x', value: 2 })
    await pass(100)
    const [first, second] = server.requests.filter((r) => r.path.startsWith('/v1/feeds'))
    expect(first!.headers.get('Authorization')).toBe('Bearer good')
    expect([...second!.headers]).toEqual([])
    expect(second!.credentials).toBe('omit')
  })

  it('are bare from the first on where the namespace was named', async () => {
    server.write('prices:x', { key: 'x', value: 1 })
    connect({ getToken: () => 'good', publicNamespaces: ['prices'] }).feed('prices:x').subscribe(() => {})
    await pass(100)
    expect([...server.requests[0]!.headers]).toEqual([])
  })
})
