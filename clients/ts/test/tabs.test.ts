import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { Doorbell } from '../src/index.js'
import { FakeBrowser } from './fake/browser.js'
import { connect, expectSame, pass, server, useFakes } from './fake/setup.js'

useFakes()

let browser: FakeBrowser
beforeEach(() => {
  browser = new FakeBrowser()
})

interface Tab { id: string; db: Doorbell }

/** Opens a tab that follows these feeds. */
const open = (id: string, ...feeds: string[]): Tab => {
  vi.stubGlobal('navigator', { locks: browser.locks(id), onLine: true })
  vi.stubGlobal('BroadcastChannel', browser.channelClass(id))
  const db = connect({ tabs: 'app' })
  for (const f of feeds) db.feed(f).subscribe(() => {})
  return { id, db }
}
/** The tab dies: nothing of it runs any more. Timers of its own would, in one process, so they are ended. */
const kill = (tab: Tab) => {
  browser.kill(tab.id)
  tab.db.close()
}

describe('tabs', () => {
  it('share one socket, and one read per change', async () => {
    server.write('a', { key: 'x', value: 1 })
    const tabs = Array.from({ length: 10 }, (_, i) => open('t' + i, 'a'))
    await pass(300)
    expect(server.sockets).toHaveLength(1)
    expect(tabs.filter((t) => t.db.leads)).toHaveLength(1)
    for (const { db } of tabs) {
      expectSame(db.feed('a').items, 'a')
      expect(db.feed('a').status).toMatchObject({ state: 'live', transport: 'websocket' })
    }
    const before = server.reads().length
    server.write('a', { key: 'x', value: 2 })
    await pass(100)
    for (const { db } of tabs) expect(db.feed('a').get('x')).toBe(2)
    expect(server.reads().length - before).toBe(1)
  })

  it('a new tab has the state from the one that leads, without a request', async () => {
    server.write('a', { key: 'x', value: 1 })
    open('t1', 'a')
    await pass(200)
    const before = server.requests.length
    const late = open('t2', 'a')
    await pass(500)
    expectSame(late.db.feed('a').items, 'a')
    expect(server.requests.length).toBe(before)
  })

  it('one whose own lock comes late is not taken for gone', async () => {
    server.write('b', { key: 'x', value: 1 })
    const leads = open('t1', 'a')
    await pass(200)
    const locks = browser.locks('t2')
    const request = locks.request.bind(locks) as any
    locks.request = ((name: string, ...rest: any[]) =>
      name.endsWith(':') ? request(name, ...rest) : new Promise((r) => setTimeout(() => r(request(name, ...rest)), 500))) as any
    vi.spyOn(browser, 'locks').mockReturnValue(locks)
    const late = open('t2', 'b')
    await pass(2_500)
    expect(leads.db.leads).toBe(true)
    server.write('b', { key: 'x', value: 2 })
    await pass(500)
    expectSame(late.db.feed('b').items, 'b')
  })

  it('the one that leads follows what others want, and stops when they are gone', async () => {
    server.write('b', { key: 'x', value: 1 })
    open('t1', 'a')
    const other = open('t2', 'b')
    await pass(300)
    expect([...server.sockets[0]!.feeds].sort()).toEqual(['a', 'b'])
    server.write('b', { key: 'x', value: 2 })
    await pass(100)
    expect(other.db.feed('b').get('x')).toBe(2)
    kill(other)
    await pass(2_000)
    expect([...server.sockets[0]!.feeds]).toEqual(['a'])
  })

  it('when the one that leads is killed, all are fresh within 2 s', async () => {
    server.write('a', { key: 'x', value: 1 })
    const tabs = Array.from({ length: 10 }, (_, i) => open('t' + i, 'a'))
    await pass(300)
    const leader = tabs.find((t) => t.db.leads)!
    kill(leader)
    server.write('a', { key: 'x', value: 2 })
    await pass(1_000)
    const left = tabs.filter((t) => t !== leader)
    expect(left.filter((t) => t.db.leads)).toHaveLength(1)
    for (const { db } of left) expect(db.feed('a').get('x')).toBe(2)
    expect(server.sockets).toHaveLength(1)
    await pass(1_000)
    for (const { db } of left) expect(db.feed('a').status.state).toBe('live')
  })

  it('one that leads and does not answer is replaced', async () => {
    const first = open('t1', 'a')
    await pass(200)
    browser.freeze('t1')
    const second = open('t2', 'a')
    await pass(2_500)
    expect(second.db.leads).toBe(true)
    expect(first.db.leads).toBe(false)
  })

  it('polling in the one that leads is enough for all', async () => {
    server.websocket = server.sse = server.longPoll = 'refused'
    server.headers = { 'Doorbell-Poll-After': '5' }
    server.write('a', { key: 'x', value: 1 })
    const tabs = [open('t1', 'a'), open('t2', 'a'), open('t3', 'a')]
    await pass(10_000)
    const before = server.reads().length
    server.feed('a').write([{ key: 'x', value: 2 }])
    await pass(30_000)
    expect(server.reads().length - before).toBeLessThanOrEqual(7)
    for (const { db } of tabs) {
      expect(db.feed('a').get('x')).toBe(2)
      expect(db.feed('a').status.state).toBe('polling')
    }
  })

  it('an own write reaches all tabs without a read', async () => {
    server.write('a', { key: 'x', value: 1 })
    const tabs = [open('t1', 'a'), open('t2', 'a'), open('t3', 'a')]
    await pass(300)
    const before = server.reads().length
    const writer = tabs.find((t) => !t.db.leads)!
    await Promise.all([writer.db.feed('a').put('x', 2), pass(100)])
    for (const { db } of tabs) expect(db.feed('a').get('x')).toBe(2)
    await pass(5_000)
    expect(server.reads().length).toBe(before)
    for (const { db } of tabs) expect(db.feed('a').status.state).toBe('live')
  })

  it('signals reach other tabs', async () => {
    open('t1', 'a')
    const { db } = open('t2')
    const heard: string[] = []
    db.onSignal('s', (s) => heard.push(s.cursor))
    await pass(300)
    const head = server.write('s', { key: 'x', value: 1 })
    await pass(100)
    expect(heard).toEqual(['', head])
    expect(server.reads().filter((r) => r.startsWith('s'))).toEqual([])
  })

  it('without locks a tab is on its own', async () => {
    vi.stubGlobal('navigator', {})
    const db = connect({ tabs: 'app' })
    db.feed('a').subscribe(() => {})
    await pass(100)
    expect(db.leads).toBe(true)
    expect(server.sockets).toHaveLength(1)
  })
})
