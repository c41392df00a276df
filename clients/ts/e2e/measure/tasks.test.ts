// 10,000 items in a virtualised list that is scrolled, 1,000 changes a second: how long the page's tasks are and what memory does. Not a part of the tests, as it looks at the
// clock: npm run measure

import { afterAll, beforeAll, expect, it } from 'vitest'
import { Tab } from '../harness/browser.js'
import { sleep } from '../harness/process.js'
import { World } from '../harness/world.js'
import { Trace, type Task } from './trace.js'

const seconds = Number(process.env['SECONDS'] ?? 60)
let world: World
beforeAll(async () => {
  world = await World.create()
})
afterAll(() => world?.end())

it('10,000 items, 1,000 changes a second', async () => {
  for (let i = 0; i < 10; i++) {
    await world.server.write('big:a', ...Array.from({ length: 1000 }, (_, n) => ({ key: `item-${i * 1000 + n}`, value: { n: 0, text: 'something of a usual length' } })))
  }
  const context = await world.context()
  const tab = await Tab.open(context, world.origin, 'big:a', {}, 'list.html')
  await tab.until('loaded', (s) => Object.keys(s.items).length === 10_000)
  await tab.page.evaluate(() => window.list('big:a', 10_000))
  let stop = false
  let written = 0
  const writer = (async () => {
    for (let n = 1; !stop; n++) {
      const due = sleep(100)
      await world.server.write('big:a', ...Array.from({ length: 100 }, () => ({ key: 'item-' + Math.floor(Math.random() * 10_000), value: { n, text: 'something of a usual length' } })))
      written += 100
      await due
    }
  })()
  await sleep(5_000) // warm-up
  const cdp = await context.newCDPSession(tab.page)
  const heap = async () => {
    await cdp.send('HeapProfiler.collectGarbage')
    return (await cdp.send('Runtime.getHeapUsage')).usedSize
  }
  const heaps = [await heap()]
  const tasks: Task[] = []
  // In thirds, because looking at the heap is a long task itself.
  for (let third = 0; third < 3; third++) {
    const trace = await Trace.start(cdp)
    await sleep((seconds * 1_000) / 3)
    tasks.push(...(await trace.stop()))
    heaps.push(await heap())
  }
  tasks.sort((a, b) => b.wall - a.wall)
  stop = true
  await writer
  const { cursor } = await world.server.snapshot('big:a')
  await tab.until('the end', (s) => s.cursor === cursor)
  const ms = (n: number) => n.toFixed(1) + ' ms'
  console.log([
    `${seconds} s, ${written} changes written; heap, MB: ${heaps.map((b) => (b / 1e6).toFixed(2)).join(', ')}`,
    `${tasks.length} tasks; over 50 ms: ${tasks.filter((t) => t.wall > 50).length} by the clock, ${tasks.filter((t) => t.cpu > 50).length} by the thread's own, whose longest is ${ms(Math.max(...tasks.map((t) => t.cpu)))}`,
    'the longest, by the clock (by the thread\'s own: the rest had to wait for a processor):',
    ...tasks.slice(0, 8).map((t) => `  ${ms(t.wall)} (${ms(t.cpu)}): ${t.of}`),
  ].join('\n'))
  expect(Math.max(...tasks.map((t) => t.cpu)), 'no task computes for longer than 50 ms').toBeLessThan(50)
  expect((await tab.see()).items).toEqual((await world.server.snapshot('big:a')).items)
}, 300_000)
