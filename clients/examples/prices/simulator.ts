// An exchange that never was: 200 symbols, busy ones and quiet ones, whose prices walk. It writes through the public API like anybody,
// one batch per beat. Runs in a worker, so that the page only shows.

import { createDoorbell } from '@doorbell/client'
import type { Quote } from './quote.js'

const beat = 100 // ms
/** Trades per second of all symbols together. A few symbols have most of them, as on real exchanges. */
let perSecond = 200

const names = (() => {
  const known = ['BTC', 'ETH', 'XRP', 'SOL', 'DOGE', 'ADA', 'TRX', 'AVAX', 'LINK', 'DOT', 'BCH', 'LTC', 'NEAR', 'ATOM', 'XLM', 'UNI', 'ETC', 'APT', 'FIL', 'HBAR']
  const all = [...known]
  for (let i = 0; all.length < 200; i++) {
    const n = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'][i % 26]! + ['OR', 'EX', 'IN', 'AL', 'UM', 'YX', 'ET', 'OS'][Math.floor(i / 26)]!
    if (!all.includes(n)) all.push(n)
  }
  return all
})()

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())

interface Listing extends Quote { weight: number; volatility: number }
const listings = names.map((symbol, i): Listing => {
  const open = i < 3 ? 10 ** (7.7 - 1.3 * i) : 10 ** (1 + Math.random() * 4)
  const weight = 1 / (i + 2)
  // It is a day like any other, and not its first minute.
  const price = open * Math.exp(normal() * 0.025)
  return { symbol, price, open, volume: Math.round((weight * (1 + Math.random()) * 1e11) / open), weight, volatility: 0.0004 + Math.random() * 0.0012 }
})
const total = listings.reduce((n, l) => n + l.weight, 0)

function pick(): Listing {
  let at = Math.random() * total
  return listings.find((l) => (at -= l.weight) < 0) ?? listings[0]!
}

/** Rounded as exchanges do, to five figures. */
const tick = (price: number) => Number(price.toPrecision(5))

const quote = ({ symbol, price, open, volume }: Listing): Quote => ({ symbol, price: tick(price), open: tick(open), volume })

self.onmessage = async ({ data }: MessageEvent<{ feed?: string; perSecond?: number }>) => {
  if (data.perSecond !== undefined) perSecond = data.perSecond
  if (!data.feed) return
  const feed = createDoorbell({ url: self.location.origin, tabs: false }).feed<Quote>(data.feed)
  await feed.write(listings.map((l) => ({ key: l.symbol, value: quote(l) })))
  let busy = false
  let due = 0
  for (;;) {
    await new Promise((r) => setTimeout(r, beat))
    due += (perSecond * beat) / 1_000
    if (busy || due < 1) continue
    const traded = new Set<Listing>()
    for (; due >= 1; due--) {
      const l = pick()
      l.price *= Math.exp(normal() * l.volatility)
      l.volume += Math.ceil(Math.random() * 50)
      traded.add(l)
    }
    busy = true
    void feed.write([...traded].map((l) => ({ key: l.symbol, value: quote(l) }))).catch(() => 0).finally(() => (busy = false))
  }
}
