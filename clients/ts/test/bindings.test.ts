import { QueryClient } from '@tanstack/query-core'
import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { get } from 'svelte/store'
import { describe, expect, it, vi } from 'vitest'
import { effectScope } from 'vue'
import { readFileSync } from 'node:fs'
import { DoorbellProvider, useDoorbellStatus, useFeed, useItem } from '../src/react.js'
import * as svelte from '../src/svelte.js'
import { revalidateOnSignal } from '../src/swr.js'
import { invalidateOnSignal } from '../src/tanstack-query.js'
import * as vue from '../src/vue.js'
import { connect, pass, server, useFakes } from './fake/setup.js'

useFakes()

describe('React', () => {
  it('renders on a server: empty, idle, and without a connection', async () => {
    const Page = () => {
      const { items } = useFeed('a')
      return createElement('p', null, `${items.size} ${useItem('a', 'x')} ${useDoorbellStatus('a').state}`)
    }
    const html = renderToString(createElement(DoorbellProvider, { doorbell: connect(), children: createElement(Page) }))
    expect(html).toBe('<p>0 undefined idle</p>')
    await pass(100)
    expect(server.requests).toEqual([])
    expect(() => renderToString(createElement(Page))).toThrow('DoorbellProvider')
  })
})

describe('Svelte', () => {
  it('stores follow the feed', async () => {
    server.write('a', { key: 'x', value: 1 })
    const feed = connect().feed('a')
    const seen: unknown[] = []
    const stop = svelte.item(feed, 'x').subscribe((v) => seen.push(v))
    await pass(100)
    server.write('a', { key: 'x', value: 2 })
    server.write('a', { key: 'y', value: 3 })
    await pass(100)
    expect(seen).toEqual([undefined, 1, 2])
    expect(get(svelte.items(feed)).get('y')).toBe(3)
    expect(get(svelte.status(feed)).state).toBe('live')
    stop()
    await pass(2_000)
    expect(server.sockets).toHaveLength(0)
  })
})

describe('Vue', () => {
  it('refs follow the feed until their scope ends', async () => {
    server.write('a', { key: 'x', value: 1 })
    const feed = connect().feed('a')
    const scope = effectScope()
    const { items, item, status } = scope.run(() => ({ items: vue.useFeed(feed), item: vue.useItem(feed, 'x'), status: vue.useDoorbellStatus(feed) }))!
    await pass(100)
    expect(items.value.get('x')).toBe(1)
    expect(item.value).toBe(1)
    expect(status.value.state).toBe('live')
    scope.stop()
    await pass(2_000)
    expect(server.sockets).toHaveLength(0)
  })
})

describe('signals for fetching libraries', () => {
  it('TanStack Query: queries are fetched again when the feed moves', async () => {
    const client = new QueryClient()
    const fetched = vi.fn(async () => 1)
    await client.prefetchQuery({ queryKey: ['orders'], queryFn: fetched })
    const observed = vi.spyOn(client, 'invalidateQueries')
    const stop = invalidateOnSignal(connect(), client, 'orders', { queryKey: ['orders'] })
    await pass(100)
    expect(observed).toHaveBeenCalledTimes(1)
    expect(client.getQueryState(['orders'])!.isInvalidated).toBe(true)
    server.write('orders', { key: 'x', value: 1 })
    await pass(100)
    expect(observed).toHaveBeenCalledTimes(2)
    stop()
    client.clear()
  })

  it('SWR: a key is revalidated when the feed moves', async () => {
    const mutate = vi.fn(async () => 1)
    revalidateOnSignal(connect(), mutate, 'orders', '/api/orders')
    await pass(100)
    server.write('orders', { key: 'x', value: 1 })
    await pass(100)
    expect(mutate.mock.calls).toEqual([['/api/orders'], ['/api/orders']])
  })
})

it('bindings stay small: Svelte and Vue under 60 lines', () => {
  for (const name of ['svelte', 'vue']) expect(readFileSync(new URL(`../src/${name}.ts`, import.meta.url), 'utf8').split('\n').length).toBeLessThan(60)
})
