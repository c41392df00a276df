import { afterAll, beforeAll, expect, it } from 'vitest'
import { createDoorbell } from '../src/index.js'
import { DoorbellServer } from './harness/doorbell.js'
import { eventually } from './harness/process.js'

let server: DoorbellServer
beforeAll(async () => {
  server = await DoorbellServer.start()
})
afterAll(() => server?.remove())

it('runs in Node, with what WHATWG APIs it has', async () => {
  await server.write('node:a', { key: 'x', value: 1 })
  const db = createDoorbell({ url: server.url })
  const feed = db.feed<number>('node:a')
  expect((await feed.ready()).get('x')).toBe(1)
  const stop = new AbortController()
  const seen: (number | undefined)[] = []
  const loop = (async () => {
    for await (const _ of feed.changes({ signal: stop.signal })) seen.push(feed.get('x'))
  })()
  await server.write('node:a', { key: 'x', value: 2 })
  await eventually('x is 2', () => seen.at(-1) === 2)
  await feed.put('y', 3)
  expect((await server.snapshot('node:a')).items).toEqual({ x: 2, y: 3 })
  stop.abort()
  await loop
  db.close()
})
