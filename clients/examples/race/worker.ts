// One lane: a client in a worker of its own, whose requests and bytes are counted.

import { createDoorbell } from '@doorbell/client'
import type { Order, Report } from './lanes.js'
import { beat } from './plot.js'

const tell = (r: Report) => self.postMessage(r)
const now = () => performance.timeOrigin + performance.now()

let requests = 0
let answered = 0
let bytes = 0
count()

self.onmessage = ({ data }: MessageEvent<Order>) => {
  if (data.lane === 'fixed') void poll(data.feed, data.every)
  else follow(data)
  setInterval(() => {
    if (requests + answered + bytes) tell({ k: 'cost', at: now(), requests, answered, bytes })
    requests = answered = bytes = 0
  }, beat)
}

function follow({ feed, lane }: Order): void {
  const transports = lane === 'adaptive' ? [] : [lane as 'websocket']
  const db = createDoorbell({ url: self.location.origin, tabs: false, transports, publicNamespaces: ['race'] })
  const race = db.feed<{ n: number }>(feed)
  race.subscribe(() => {
    const n = race.get('beat')?.n
    if (n !== undefined) tell({ k: 'has', n, at: now() })
  })
  db.onLink((link) => tell({ k: 'by', transport: link.transport }))
}

/** What everybody writes first. */
async function poll(feed: string, every: number): Promise<void> {
  for (let since = ''; ; await new Promise((r) => setTimeout(r, every))) {
    const answer = await fetch(`/v1/feeds/${feed}/changes${since && '?since=' + since}`, { credentials: 'omit' }).catch(() => undefined)
    if (!answer?.ok) continue
    tell({ k: 'by', transport: 'polling' })
    const page = await answer.json()
    since = page.cursor
    const beat = page.changes?.find((c: { key: string }) => c.key === 'beat')
    if (beat) tell({ k: 'has', n: beat.value.n, at: now() })
  }
}

/** Counts what goes through fetch and WebSocket. */
function count(): void {
  const { fetch, WebSocket } = self
  const size = (h: Headers) => [...h].reduce((n, [name, value]) => n + name.length + value.length + 4, 2)
  self.fetch = async (input, init) => {
    requests++
    // The request line, and the headers that browsers send by themselves.
    bytes += String(input).length + 250 + size(new Headers(init?.headers)) + (typeof init?.body === 'string' ? init.body.length : 0)
    const answer = await fetch(input, init)
    bytes += 17 + size(answer.headers)
    // All but the streams and sockets that bring signals.
    if (!String(input).includes('/v1/signals')) answered++
    if (!answer.body) return answer
    const counted = answer.body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, c) {
        bytes += chunk.length
        c.enqueue(chunk)
      },
    }))
    return new Response(counted, { status: answer.status, headers: answer.headers })
  }
  self.WebSocket = class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols)
      requests++
      bytes += 700 // the handshake, both ways
      this.addEventListener('message', ({ data }) => (bytes += data.length + 2))
    }
    override send(data: string): void {
      bytes += data.length + 6
      super.send(data)
    }
  }
}
