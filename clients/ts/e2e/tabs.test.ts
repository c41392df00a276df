import { afterAll, beforeAll, expect, it } from 'vitest'
import { Tab } from './harness/browser.js'
import { eventually, took } from './harness/process.js'
import { World } from './harness/world.js'

let world: World
beforeAll(async () => {
  world = await World.create()
})
afterAll(() => world?.end())

it('ten tabs: one socket; the one that leads is killed: all are fresh', async () => {
  const context = await world.context()
  await world.server.write('tabs', { key: 'x', value: 0 })
  const tabs: Tab[] = []
  for (let i = 0; i < 10; i++) tabs.push(await Tab.open(context, world.origin, 'tabs', { tabs: 'app' }))
  for (const tab of tabs) await tab.until('live', (s) => s.state === 'live' && s.items['x'] === 0)
  expect(tabs.reduce((n, t) => n + t.sockets, 0)).toBe(1)

  await world.server.write('tabs', { key: 'x', value: 1 })
  for (const tab of tabs) await tab.until('x is 1', (s) => s.items['x'] === 1)

  // A write in one reaches all.
  await tabs[7]!.page.evaluate(() => window.feed.put('from', 7))
  for (const tab of tabs) await tab.until('from is 7', (s) => s.items['from'] === 7)

  const reads = () => tabs.reduce((n, t) => n + t.requests.filter((r) => r.includes('/feeds/tabs')).length, 0)
  const before = reads()
  await world.server.write('tabs', { key: 'x', value: 2 })
  for (const tab of tabs) await tab.until('x is 2', (s) => s.items['x'] === 2)
  expect(reads() - before).toBe(1)

  const leads = await Promise.all(tabs.map(async (t) => (await t.see()).leads))
  expect(leads.filter(Boolean)).toHaveLength(1)
  const leader = tabs[leads.indexOf(true)]!
  const left = tabs.filter((t) => t !== leader)
  // Its process dies: nothing of the page runs any more, not even what runs when a tab is closed.
  const died = leader.page.waitForEvent('crash')
  void leader.page.goto('chrome://crash').catch(() => 0)
  await died
  const began = Date.now()
  await world.server.write('tabs', { key: 'x', value: 3 })
  await Promise.all(left.map((t) => t.until('x is 3', (s) => s.items['x'] === 3)))
  took('the tab that leads is killed: all nine are fresh', Date.now() - began, 2_000)
  for (const tab of left) await tab.until('live', (s) => s.state === 'live')
  expect(left.reduce((n, t) => n + t.sockets, 0)).toBe(1)
  await eventually('one leads', async () => (await Promise.all(left.map((t) => t.see()))).filter((s) => s.leads).length === 1)
  await context.close()
})
