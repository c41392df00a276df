// 10,000 items, 1,000 changes a second: how long the page's tasks are and what memory does. Not a part of the tests, as it looks at the
// clock: npm run measure

import { afterAll, beforeAll, expect, it } from 'vitest'
import { Tab } from '../harness/browser.js'
import { sleep } from '../harness/process.js'
import { World } from '../harness/world.js'

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
  const tab = await Tab.open(context, world.origin, 'big:a')
  await tab.until('loaded', (s) => Object.keys(s.items).length === 10_000)
  // A list of which 40 rows are seen, drawn once a frame from a Map that does not change under it.
  await tab.page.evaluate(() => {
    const list = document.body.appendChild(document.createElement('ul'))
    const rows = Array.from({ length: 40 }, () => list.appendChild(document.createElement('li')))
    let drawn = -1
    ;(function frame() {
      if (window.feed.version !== drawn) {
        drawn = window.feed.version
        const items = window.feed.snapshot()
        rows.forEach((row, i) => (row.textContent = `item-${i}: ${JSON.stringify(items.get('item-' + i))}`))
      }
      requestAnimationFrame(frame)
    })()
  })
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
  const before = await heap()
  await tab.page.evaluate(() => {
    const w = window as unknown as { tasks: number[] }
    w.tasks = []
    new PerformanceObserver((l) => w.tasks.push(...l.getEntries().map((e) => Math.round(e.duration)))).observe({ type: 'longtask' })
  })
  await sleep(seconds * 1_000)
  const tasks = await tab.page.evaluate(() => (window as unknown as { tasks: number[] }).tasks)
  const after = await heap()
  stop = true
  await writer
  const { cursor } = await world.server.snapshot('big:a')
  await tab.until('the end', (s) => s.cursor === cursor)
  console.log(`${seconds} s, ${written} changes written; tasks over 50 ms: ${JSON.stringify(tasks)}; heap ${(before / 1e6).toFixed(1)} MB, then ${(after / 1e6).toFixed(1)} MB`)
  expect((await tab.see()).items).toEqual((await world.server.snapshot('big:a')).items)
}, 300_000)
