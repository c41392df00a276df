import { describe, expect, it, vi } from 'vitest'
import { connect, pass, server, useFakes } from './fake/setup.js'

useFakes()

/** A JWT that nobody signed. */
const jwt = (exp: number) => ['e30', btoa(JSON.stringify({ exp: exp / 1000 })).replace(/=+$/, ''), 's'].join('.')

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

  it('a JWT is replaced before it ends, on the same connection', async () => {
    server.publicReads = false
    const t1 = jwt(Date.now() + 60_000)
    const t2 = jwt(Date.now() + 3_600_000)
    server.tokens = new Set([t1, t2])
    const feed = connect({ getToken: (refused) => (refused ? t2 : t1) }).feed('a')
    feed.subscribe(() => {})
    await pass(50_000)
    expect(server.sockets[0]!.commands.at(-1)).toEqual({ auth: t2 })
    expect(server.sockets).toHaveLength(1)
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
