// Pullers of a model: a feed, the signals of it, and a cache before it that holds what is pinned.

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Read } from '../src/answer.js'
import { newer } from '../src/cursor.js'
import { DoorbellError } from '../src/errors.js'
import { parsePage } from '../src/page.js'
import { createPuller, type Puller } from '../src/puller.js'
import { createReplica } from '../src/replica.js'
import { pass } from './fake/setup.js'
import { FakeFeed, Refusal } from './fake/store.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const name = 'a'
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** One run of the model. `seed` says all that happens. */
function createModel(seed: number) {
  let state = seed
  const rnd = (n: number) => (state = (state * 48271) % 2147483647) % n
  let epoch = 1
  const born = () => new FakeFeed(name, '0k' + String(epoch++).padStart(5, '0'))
  let feed = born()
  const cache = new Map<string, object>()
  const asked: string[] = []
  let calm = false
  const limit = [1000, 7, 1][seed % 3]!
  const tiny = seed % 5 === 0

  /** Answers as a cache does that has the origin behind it, after a while, and not always. */
  const read: Read = async (since, atLeast, signal) => {
    const url = since + '..' + atLeast
    asked.push(url)
    await sleep(1 + rnd(150))
    signal.throwIfAborted()
    if (!calm && !rnd(25)) throw rnd(2) ? new DoorbellError('behind', '', 503, 1_000) : new DoorbellError('network', '')
    if (!calm && !rnd(25)) feed.write([{ key: 'beyond', value: rnd(1000) }]) // the answer leads further than it was asked to
    try {
      const page = cache.get(url) ?? feed.read(since, atLeast, limit)
      if (atLeast) cache.set(url, page)
      await sleep(rnd(150))
      return { page: parsePage(structuredClone(page)), small: tiny, pollAfter: 0 }
    } catch (e) {
      if (!(e instanceof Refusal)) throw e
      throw new DoorbellError(e.code, '', e.status, 0, (e.members as any).snapshot)
    }
  }

  const pullers = Array.from({ length: 4 }, () => {
    const replica = createReplica()
    let at = ''
    const puller = createPuller({
      replica, read, changed: () => {},
      applied({ reset }) {
        if (!reset && at) expect(newer(at, replica.have), `${at} → ${replica.have}`).toBe(false)
        at = replica.have
      },
    })
    puller.start()
    puller.link({ transport: 'websocket', degraded: false }, false)
    return { puller, replica }
  })
  const signal = (to: Puller, first = false) => to.head(feed.head, rnd(3) ? 0 : rnd(1500), first)
  const each = (f: (p: Puller) => void) => pullers.forEach(({ puller }) => f(puller))
  const change = () => ({ key: 'k' + rnd(12), ...(rnd(5) ? { value: rnd(1000) } : { deleted: true }) })

  const happen = () => {
    const what = rnd(100)
    const one = pullers[rnd(4)]!.puller
    if (what < 60) feed.write([change()])
    else if (what < 72) feed.write(Array.from({ length: 1 + rnd(6) }, change))
    else if (what < 74) for (let i = 0; i < 60; i++) feed.write([change()])
    else if (what < 78) one.link({ transport: 'websocket', degraded: !rnd(2) }, false)
    else if (what < 82) one.link({ transport: rnd(2) ? 'polling' : 'sse', degraded: false }, false)
    else if (what < 85) signal(one, true)
    else if (what < 88) feed.forget(feed.seq - rnd(4))
    else if (what < 90) feed.trim(Math.max(feed.seq - 5, feed.trimmed))
    else if (what < 91) feed = born()
    else if (what < 94) one.wake()
    else if (what < 95) one.head(null)
    else for (const url of cache.keys()) if (rnd(2)) cache.delete(url)
    if (rnd(5)) each((p) => rnd(6) && signal(p)) // some gateways skip
  }
  return {
    asked, pullers, happen, rnd,
    get feed() {
      return feed
    },
    /** Nothing goes wrong any more, and all are told. */
    calm() {
      calm = true
      feed.write([{ key: 'last', value: 1 }])
      each((p) => p.link({ transport: 'websocket', degraded: false }, false))
      each((p) => p.head(feed.head, 0, true))
    },
  }
}

it.each(Array.from({ length: 24 }, (_, i) => i + 1))('whichever way each has gone, in the end all have what there is: seed %d', async (seed) => {
  const m = createModel(seed)
  vi.spyOn(Math, 'random').mockImplementation(() => m.rnd(1000) / 1000)
  for (let i = 0; i < 250; i++) {
    m.happen()
    await pass(m.rnd(3) ? m.rnd(60) : m.rnd(600))
  }
  m.calm()
  await pass(90_000) // the longest rest
  for (const { puller, replica } of m.pullers) {
    expect(replica.have).toBe(m.feed.head)
    expect(Object.fromEntries([...replica.items].sort(([a], [b]) => (a < b ? -1 : 1)))).toEqual(m.feed.items())
    expect(puller.status).toMatchObject({ state: 'live', error: undefined })
  }
  m.asked.length = 0
  await pass(3_600_000)
  expect(m.asked, 'nobody goes round in circles').toEqual([])
})
