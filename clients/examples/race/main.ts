// The page: writes changes, starts the lanes, and draws what they tell.

import { createDoorbell } from '@doorbell/client'
import { duration, rate, size } from './format.js'
import { lanes, type Lane, type LaneID, type Order, type Report } from './lanes.js'
import { Meter, Writes } from './meter.js'
import { Plot } from './plot.js'

const $ = (id: string) => document.getElementById(id)!
const now = () => performance.timeOrigin + performance.now()
const calm = matchMedia('(prefers-reduced-motion: reduce)')

/** A row of the page with its client. */
class Runner {
  meter!: Meter
  #worker: Worker | undefined
  readonly #row: HTMLElement
  readonly #plot: Plot
  readonly #cells: HTMLElement[]

  constructor(readonly lane: Lane) {
    this.#row = document.createElement('li')
    this.#row.className = 'lane'
    this.#row.dataset['lane'] = lane.id
    this.#row.innerHTML = `
      <div class="who"><h2>${lane.name}</h2><p class="how">${lane.how}</p><p class="by"></p></div>
      <div class="plot"><canvas role="img"></canvas></div>
      <dl>
        <div class="age"><dt>Behind by</dt><dd data-f="age">–</dd></div>
        <div><dt>Typical delay</dt><dd data-f="typical">–</dd></div>
        <div><dt>Requests / min</dt><dd data-f="requests">–</dd></div>
        <div><dt>Data / min</dt><dd data-f="bytes">–</dd></div>
      </dl>`
    $('lanes').append(this.#row)
    this.#plot = new Plot(this.#row.querySelector('canvas')!)
    const row = document.createElement('tr')
    row.innerHTML = `<th scope="row">${lane.name}</th><td></td><td></td><td></td><td></td><td>${lane.when}</td>`
    this.#cells = [...row.querySelectorAll('td')]
    // Where there is no room for a table, each cell says what it is.
    const heads = document.querySelectorAll('thead th')
    this.#cells.forEach((cell, i) => (cell.dataset['label'] = heads[i + 1]!.textContent!))
    $('matrix').append(row)
  }

  start(feed: string, writes: Writes, every: number): void {
    this.#worker?.terminate()
    this.meter = new Meter(writes, now())
    this.#worker = new Worker('worker.js', { type: 'module' })
    this.#worker.onmessage = ({ data }: MessageEvent<Report>) => {
      if (data.k === 'has') this.meter.seen(data.n, data.at)
      else if (data.k === 'cost') this.meter.cost(now(), data.requests, data.bytes)
      else this.meter.transport = data.transport
    }
    this.#worker.postMessage({ feed, lane: this.lane.id, every } satisfies Order)
  }

  sample(at: number): void {
    const ms = this.meter.staleness(at)
    this.#plot.add(at, ms)
    this.#set('age', ms < 1 ? 'fresh' : duration(ms))
    this.#row.classList.toggle('stale', ms > 250)
  }

  draw(at: number): void {
    this.#plot.draw(at)
  }

  /** Once a second. */
  tell(at: number): void {
    const f = this.meter.figures(at)
    this.#set('typical', duration(f.typical))
    this.#set('requests', rate(f.requests))
    this.#set('bytes', size(f.bytes))
    const cells = [duration(f.typical), duration(f.bad), rate(f.requests), size(f.perChange)]
    cells.forEach((text, i) => (this.#cells[i]!.textContent = text))
    const { id, name } = this.lane
    const fallen = (id === 'long-poll' || id === 'sse' || id === 'websocket') && this.meter.transport === 'polling'
    this.#row.querySelector('.by')!.textContent = fallen ? 'not to be had here: polling instead' : ''
    this.#row.classList.toggle('fallen', fallen)
    this.#plot.canvas.setAttribute('aria-label', `${name}: staleness over the last 30 seconds; typical delay ${duration(f.typical)}`)
  }

  #set(field: string, text: string): void {
    const cell = this.#row.querySelector(`[data-f=${field}]`)!
    if (cell.textContent !== text) cell.textContent = text
  }
}

/** A group of radio buttons; gives what is chosen. */
function choice(id: string, options: [label: string, value: number][], chosen: number, changed: () => void): () => number {
  $(id).innerHTML = options
    .map(([label, value]) => `<label><input type="radio" name="${id}" value="${value}"${value === chosen ? ' checked' : ''}><span>${label}</span></label>`)
    .join('')
  $(id).addEventListener('change', changed)
  return () => Number($(id).querySelector<HTMLInputElement>(':checked')!.value)
}

const runners = lanes.map((lane) => new Runner(lane))
const writer = createDoorbell({ url: '', tabs: false, transports: [] })
let writes = new Writes()
let feed = ''
let next: ReturnType<typeof setTimeout>

const between = choice('rate', [['10 s', 10_000], ['3 s', 3_000], ['1 s', 1_000], ['0.2 s', 200]], 3_000, plan)
const every = choice('interval', [['1 s', 1_000], ['5 s', 5_000], ['15 s', 15_000]], 5_000, restart)

function write(): void {
  const n = writes.add(now())
  const text = '₩' + (50_000_000 + Math.round(Math.random() * 1e6)).toLocaleString('en')
  writer.feed(feed).put('beat', { n, text }).catch((e: Error) => ($('server').textContent = e.message))
}

function plan(): void {
  clearTimeout(next)
  // Not in step with anybody's clock.
  next = setTimeout(() => {
    write()
    plan()
  }, between() * (0.6 + Math.random() * 0.8))
}

function restart(): void {
  writes = new Writes()
  feed = 'race:' + Math.random().toString(36).slice(2)
  write()
  for (const r of runners) r.start(feed, writes, every())
  plan()
}

$('once').addEventListener('click', write)
$('restart').addEventListener('click', restart)
restart()
$('server').textContent = 'one server, one feed, five clients'

setInterval(() => {
  for (const r of runners) r.sample(now())
}, 100)
setInterval(() => {
  for (const r of runners) r.tell(now())
  if (calm.matches) for (const r of runners) r.draw(now())
}, 1_000)
setInterval(summary, 10_000)
;(function frame() {
  if (!calm.matches) for (const r of runners) r.draw(now())
  requestAnimationFrame(frame)
})()

/** For those who hear the page. */
function summary(): void {
  const best = [...runners].sort((a, b) => a.meter.figures(now()).typical - b.meter.figures(now()).typical)
  const tell = (id: LaneID) => duration(runners.find((r) => r.lane.id === id)!.meter.figures(now()).typical)
  $('measured').textContent = `${writes.at.length} changes; fastest: ${best[0]!.lane.name}, typically ${tell(best[0]!.lane.id)}; fixed polling: ${tell('fixed')}`
}
