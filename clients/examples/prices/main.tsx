// The page shows a feed of 200 symbols. All that concerns Doorbell is useFeed, useItem, and Status.

import { createDoorbell } from '@doorbell/client'
import { DoorbellProvider, useFeed, useItem } from '@doorbell/client/react'
import { memo, useEffect, useMemo, useRef, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { Status } from '../status.js'
import { change, type Quote } from './quote.js'

const feed = 'prices:all'
const db = createDoorbell({ url: '' })
const simulator = new Worker('simulator.js', { type: 'module' })
// One tab simulates; the others only look.
void navigator.locks.request('price-simulator', () => {
  simulator.postMessage({ feed })
  return new Promise(() => {})
})

type Order = 'busiest' | 'winners' | 'losers' | 'name'
const orders: Record<Order, (a: Quote, b: Quote) => number> = {
  busiest: (a, b) => b.volume * b.price - a.volume * a.price,
  winners: (a, b) => change(b) - change(a),
  losers: (a, b) => change(a) - change(b),
  name: (a, b) => (a.symbol < b.symbol ? -1 : 1),
}

const price = new Intl.NumberFormat('en', { maximumSignificantDigits: 6 })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const signed = (n: number) => (n > 0 ? '+' : n < 0 ? '−' : '±') + Math.abs(n).toFixed(2) + ' %'

/** One symbol. It renders again when that one trades, and not for others. */
const Row = memo(function Row({ symbol }: { symbol: string }) {
  const quote = useItem<Quote>(feed, symbol)
  const last = useRef(quote?.price)
  const cell = useRef<HTMLSpanElement>(null)
  useEffect(() => {
    const was = last.current
    last.current = quote?.price
    if (was === undefined || !quote || was === quote.price || matchMedia('(prefers-reduced-motion: reduce)').matches) return
    cell.current!.dataset['went'] = quote.price > was ? 'up' : 'down'
    // Opacity alone is what browsers animate without painting anew.
    cell.current!.animate({ opacity: [1, 0] }, { duration: 700, pseudoElement: '::before' })
  }, [quote])
  if (!quote) return null
  const by = change(quote)
  return (
    <tr>
      <th scope="row">{symbol}</th>
      <td className="price"><span ref={cell}>{price.format(quote.price)}</span></td>
      <td className={by > 0 ? 'up' : by < 0 ? 'down' : ''}>{signed(by)}</td>
      <td className="wide">{compact.format(quote.volume * quote.price)}</td>
    </tr>
  )
})

function Board() {
  const { items } = useFeed<Quote>(feed)
  const [order, setOrder] = useState<Order>('busiest')
  const [search, setSearch] = useState('')
  const [rate, setRate] = useState(200)
  const [sortedAt, setSortedAt] = useState(0)
  // Rows that jump about can't be read: the order is looked at once in two seconds.
  useEffect(() => {
    const t = setInterval(() => setSortedAt(Date.now()), 2_000)
    return () => clearInterval(t)
  }, [])
  const symbols = useMemo(
    () => [...items.values()].sort(orders[order]).map((q) => q.symbol),
    [order, sortedAt, items.size],
  )
  const shown = symbols.filter((s) => s.includes(search.toUpperCase()))
  const all = [...items.values()]
  const up = all.filter((q) => change(q) > 0).length
  const down = all.filter((q) => change(q) < 0).length
  return (
    <>
      <header className="top">
        <h1>Price board</h1>
        <Status feed={feed} />
      </header>
      <main>
        <section className="figures" aria-label="The market">
          <div><span>Symbols</span><b>{items.size || '–'}</b></div>
          <div><span>Rising</span><b className="up">{up}</b></div>
          <div><span>Falling</span><b className="down">{down}</b></div>
          <div><span>Turnover, ₩</span><b>{compact.format(all.reduce((n, q) => n + q.volume * q.price, 0))}</b></div>
        </section>
        <form className="controls" onSubmit={(e) => e.preventDefault()}>
          <label>Find<input type="search" value={search} onChange={(e) => setSearch(e.target.value)} placeholder="BTC" /></label>
          <label>Order
            <select value={order} onChange={(e) => setOrder(e.target.value as Order)}>
              <option value="busiest">busiest first</option><option value="winners">winners first</option>
              <option value="losers">losers first</option><option value="name">by name</option>
            </select>
          </label>
          <label>Trades a second
            <select value={rate} onChange={(e) => { setRate(Number(e.target.value)); simulator.postMessage({ perSecond: Number(e.target.value) }) }}>
              {[0, 20, 200, 1000].map((n) => <option key={n}>{n}</option>)}
            </select>
          </label>
        </form>
        <div className="board">
          <table>
            <caption className="hidden">Prices, {shown.length} symbols</caption>
            <thead><tr><th scope="col">Symbol</th><th scope="col">Price, ₩</th><th scope="col">Today</th><th scope="col" className="wide">Turnover, ₩</th></tr></thead>
            <tbody>{shown.map((s) => <Row key={s} symbol={s} />)}</tbody>
          </table>
          {shown.length === 0 && <p className="empty">{items.size ? `Nothing is called “${search}”.` : 'The market opens in a moment.'}</p>}
        </div>
      </main>
    </>
  )
}

createRoot(document.getElementById('root')!).render(<DoorbellProvider doorbell={db}><Board /></DoorbellProvider>)
