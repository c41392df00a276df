import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { BrowserContext } from 'playwright-core'
import { Tab } from './harness/browser.js'
import { eventually, sleep, took } from './harness/process.js'
import { World } from './harness/world.js'

let world: World
let context: BrowserContext
let n = 0
let feed = ''

beforeAll(async () => {
  world = await World.create()
})
afterAll(() => world?.end())
beforeEach(async () => {
  world.way('open')
  feed = 'net:' + ++n
  context = await world.context()
  await world.server.write(feed, { key: 'x', value: 0 })
})
afterEach(() => context.close())

const open = (options?: object) => Tab.open(context, world.origin, feed, options)
const live = (transport: string) => (s: { state: string; transport: string }) => s.state === 'live' && s.transport === transport
/** Writes, and gives how long it took until the page had it. */
const write = async (tab: Tab, value: number, within?: number) => {
  await world.server.write(feed, { key: 'x', value })
  return tab.until('x is ' + value, (s) => s.items['x'] === value, within)
}
const same = async (tab: Tab) => {
  const { cursor, items } = await world.server.snapshot(feed)
  await tab.until('the state is the server\'s', (s) => s.cursor === cursor)
  expect((await tab.see()).items).toEqual(items)
}

describe('in Chromium', () => {
  it('is live over a WebSocket', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    await write(tab, 1)
    await same(tab)
    expect(tab.sockets).toBe(1)
  })

  it('upgrades blocked: live over SSE', async () => {
    world.way('noUpgrade')
    const tab = await open()
    took('upgrades blocked: live over SSE', await tab.until('live', live('sse')), 3_000)
    await write(tab, 1)
    await write(tab, 2)
    await same(tab)
  })

  it('streams buffered: live over long polls', async () => {
    world.way('buffering')
    const tab = await open()
    took('streams buffered: live over long polls', await tab.until('live', live('long-poll'), 30_000), 10_000)
    await write(tab, 1)
    await write(tab, 2)
    await same(tab)
  })

  it('short requests only: polls, and is right', async () => {
    world.way('short')
    const tab = await open()
    await tab.until('polling', (s) => s.state === 'polling' || s.state === 'live', 30_000)
    await write(tab, 1)
    await same(tab)
  })

  it('up all rungs: nothing, short requests, held ones, streams, sockets; the state is right on each', async () => {
    world.way('short')
    const tab = await open()
    await tab.until('there', (s) => s.items['x'] === 0)
    world.network.cut()
    await tab.until('offline', (s) => s.state === 'offline', 30_000)
    await world.server.write(feed, { key: 'x', value: 1 })
    const began = Date.now()
    world.way('short')
    await tab.until('polls', (s) => s.items['x'] === 1, 40_000)
    took('all blocked, then short requests: fresh', Date.now() - began, 30_000)
    await same(tab)
    const steps = [['buffering', 'long-poll'], ['noUpgrade', 'sse'], ['open', 'websocket']] as const
    for (const [i, [way, transport]] of steps.entries()) {
      world.way(way)
      const x = 2 + i
      await world.server.write(feed, { key: 'x', value: x })
      took(way + ': live over ' + transport, await tab.until(transport, (s) => live(transport)(s) && s.items['x'] === x, 45_000), 30_000)
      await same(tab)
    }
  })

  it('streams and held requests are cut: both are given up, and polls bring the news', async () => {
    world.way('cutsStreams')
    const tab = await open()
    const tries = () => tab.requests.filter((r) => /\/v1\/(signals|poll)/.test(r)).length
    let last = -1
    const began = Date.now()
    let since = began
    await eventually('neither is tried for 5 s', async () => {
      if (tries() !== last) [last, since] = [tries(), Date.now()]
      return Date.now() - since > 5_000 && (await tab.see()).transport === 'polling'
    }, 60_000)
    console.log(`streams cut: polling for good after ${((since - began) / 1_000).toFixed(2)} s and ${last} tries`)
    expect(last, 'three strikes each, two requests a long poll, and some in between').toBeLessThan(20)
    await write(tab, 1)
    await same(tab)
  })

  it('sockets are killed, again and again: they are left alone for a while', async () => {
    world.way('killsSockets')
    const tab = await open()
    await tab.until('a socket', (s) => s.transport === 'websocket')
    took('sockets killed: live over SSE', await tab.until('SSE for good', (s) => live('sse')(s) && tab.sockets >= 3, 30_000), 15_000)
    await write(tab, 1)
    const { sockets } = tab
    await sleep(5_000)
    expect((await tab.see()).transport).toBe('sse')
    expect(tab.sockets - sockets).toBe(0)
    await same(tab)
  })

  it('so far behind that the difference is more than a page', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    world.network.cut()
    await tab.until('not live', (s) => s.state !== 'live')
    for (let i = 0; i < 3; i++) {
      await world.server.write(feed, ...Array.from({ length: 1_000 }, (_, n) => ({ key: `k${i}-${n}`, value: n })))
    }
    await world.server.write(feed, { key: 'x', deleted: true })
    world.network.restore()
    const { cursor } = await world.server.snapshot(feed)
    took('3,000 changes behind: fresh', await tab.until('all of them', (s) => s.cursor === cursor, 35_000), 30_000)
    await same(tab)
  })

  it('a proxy that drops query strings: a clear error, no loop', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    world.way('noQuery')
    await tab.until('connected again', (s) => s.transport === 'websocket', 30_000)
    // More than one page's worth of difference is not needed: the answer is to another question already.
    await world.server.write(feed, { key: 'y', value: 1 })
    await sleep(200)
    await world.server.write(feed, { key: 'x', value: 1 }, { key: 'z', value: 2 })
    const before = tab.requests.length
    await sleep(5_000)
    expect(tab.requests.length - before).toBeLessThan(15)
    const seen = await tab.see()
    if (seen.items['x'] !== 1) expect(seen.error).toMatch(/^wrong_answer: .*query/)
    world.way('open')
    await tab.until('right again', (s) => s.items['x'] === 1, 40_000)
    await same(tab)
  })

  it('the network is cut for a while', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    world.network.cut()
    await world.server.write(feed, { key: 'x', value: 1 })
    await tab.until('offline', (s) => s.state === 'offline' && s.staleSince > 0, 15_000)
    world.network.restore()
    await tab.page.evaluate(() => window.dispatchEvent(new Event('online')))
    took('the network is back: fresh', await tab.until('x is 1', (s) => s.items['x'] === 1), 2_000)
    await tab.until('live', live('websocket'))
    await same(tab)
  })

  it('connections die without a word while the machine sleeps: fresh soon after waking', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    world.network.swallow()
    await world.server.write(feed, { key: 'x', value: 1 })
    await sleep(1_500)
    expect((await tab.see()).items['x']).toBe(0)
    // The clock jumps, which is all that a page notices of having slept.
    await tab.page.evaluate(() => {
      const now = Date.now
      Date.now = () => now() + 3_600_000
    })
    took('awake: fresh', await tab.until('x is 1', (s) => s.items['x'] === 1), 2_000)
    await tab.until('live', live('websocket'))
  })

  it('the server is killed and started again', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    await world.server.kill()
    await tab.until('not live', (s) => s.state !== 'live')
    await world.server.start()
    took('the server is back: fresh', await write(tab, 1, 45_000), 30_000)
    took('the server is back: a WebSocket', await tab.until('live', live('websocket'), 45_000), 30_000)
    await same(tab)
  })

  it('a reset while offline', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    world.network.cut()
    await tab.until('not live', (s) => s.state !== 'live')
    await world.server.drop(feed)
    await world.server.write(feed, { key: 'new', value: true })
    world.network.restore()
    took('a reset while offline: the new history', await tab.until('the new history', (s) => s.items['new'] === true && !('x' in s.items), 45_000), 30_000)
    await same(tab)
  })

  it('writes while offline wait, and happen once', async () => {
    const tab = await open()
    await tab.until('live', live('websocket'))
    world.network.cut()
    await tab.page.evaluate(() => {
      void window.feed.put('mine', 1)
      void window.feed.put('mine', 2)
    })
    expect((await tab.see()).items['mine']).toBe(2)
    await sleep(500)
    world.network.restore()
    await tab.until('written', (s) => s.cursor.endsWith('-3'), 35_000)
    await same(tab)
  })
})

describe('tokens', () => {
  it('one that ends is replaced before, on the same socket', async () => {
    const tab = await open({ tokens: [world.server.token('6s'), world.server.token('1h')] })
    await tab.until('live', live('websocket'))
    await eventually('another token is asked for', () => tab.page.evaluate(() => window.tokensAsked === 2))
    await sleep(2_000)
    expect((await tab.see()).state).toBe('live')
    expect(tab.sockets).toBe(1)
    await write(tab, 1)
    await tab.page.evaluate(() => window.feed.put('mine', 1))
    await same(tab)
  })

  it('one that has ended is replaced when it is refused', async () => {
    const ended = world.server.token('1s')
    await sleep(2_500)
    const tab = await open({ tokens: [ended, world.server.token('1h')] })
    await tab.until('live', live('websocket'))
    await write(tab, 1)
    await same(tab)
  })
})

describe('persistence', () => {
  it('a reload shows the last state at once, without a network, and then catches up by delta', async () => {
    const tab = await open({ persist: true })
    await tab.until('live', live('websocket'))
    await write(tab, 1)
    await sleep(1_500)
    const { cursor } = await tab.see()
    await world.server.write(feed, { key: 'y', value: 2 })
    await tab.until('y', (s) => s.items['y'] === 2)
    await sleep(1_500)
    await tab.page.close()
    await world.server.write(feed, { key: 'z', value: 3 })
    const again = await open({ persist: true })
    await again.until('z', (s) => s.items['z'] === 3)
    expect(again.requests.filter((r) => r.includes('/feeds/')).every((r) => r.includes('since='))).toBe(true)
    expect(cursor).not.toBe('')
    await same(again)
  })
})
