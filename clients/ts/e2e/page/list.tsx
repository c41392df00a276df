// A virtualised list of 10,000 items, of which each row that is seen follows its own: window.list(feed) shows it.

import { useState } from 'react'
import { createRoot } from 'react-dom/client'
import { DoorbellProvider, useItem } from '../../src/react.js'

declare global {
  interface Window {
    list(feed: string, items: number): void
  }
}

const high = 20
const seen = 40

function Row({ feed, n }: { feed: string; n: number }) {
  return <li style={{ position: 'absolute', top: n * high, height: high }}>item-{n}: {JSON.stringify(useItem(feed, 'item-' + n))}</li>
}

function List({ feed, items }: { feed: string; items: number }) {
  const [top, setTop] = useState(0)
  const first = Math.floor(top / high)
  return (
    <div id="list" style={{ height: seen * high, overflow: 'auto' }} onScroll={(e) => setTop(e.currentTarget.scrollTop)}>
      <ul style={{ position: 'relative', height: items * high }}>
        {Array.from({ length: Math.min(seen + 1, items - first) }, (_, i) => <Row key={first + i} feed={feed} n={first + i} />)}
      </ul>
    </div>
  )
}

window.list = (feed, items) => {
  const root = document.body.appendChild(document.createElement('div'))
  createRoot(root).render(<DoorbellProvider doorbell={window.db}><List {...{ feed, items }} /></DoorbellProvider>)
  // Somebody scrolls all the time.
  ;(function frame() {
    const list = document.getElementById('list')
    if (list) list.scrollTop = list.scrollTop + 12 < list.scrollHeight - list.clientHeight ? list.scrollTop + 12 : 0
    requestAnimationFrame(frame)
  })()
}
