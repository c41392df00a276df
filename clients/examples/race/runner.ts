// A row of the page with its client, which runs in a worker.

import { duration, percent, rate, size, verdict } from './format.js'
import type { Lane, Order, Report } from './lanes.js'
import { Meter, type Figures, type Writes } from './meter.js'
import { Plot, beat, span, type Picture } from './plot.js'

/** A client is behind, and not only on its way, after so many ms. */
const late = 250

export class Runner {
  meter!: Meter
  #worker: Worker | undefined
  readonly #row = document.createElement('li')
  readonly #plot: Plot
  readonly #cells: HTMLElement[]

  constructor(readonly lane: Lane, lanes: Element, matrix: Element, heads: ArrayLike<Element>) {
    this.#row.className = 'lane'
    this.#row.dataset['lane'] = lane.id
    this.#row.innerHTML = `
      <div class="who"><h2>${lane.name}</h2><p class="how">${lane.how}</p><p class="says" data-f="says"></p></div>
      <div class="plot"><canvas role="img" aria-label="${lane.name}"></canvas></div>
      <dl>
        <div class="age"><dt>Behind by</dt><dd data-f="age">–</dd></div>
        <div><dt>Typical delay</dt><dd data-f="typical">–</dd></div>
        <div><dt>Requests / min</dt><dd data-f="requests">–</dd></div>
        <div><dt>Data / min</dt><dd data-f="bytes">–</dd></div>
      </dl>`
    lanes.append(this.#row)
    this.#plot = new Plot(this.#row.querySelector('canvas')!)
    const row = document.createElement('tr')
    row.innerHTML = `<th scope="row">${lane.name}</th>${'<td>–</td>'.repeat(5)}<td>${lane.when}</td>`
    this.#cells = [...row.querySelectorAll('td')]
    // Where there is no room for a table, each cell says what it is.
    this.#cells.forEach((cell, i) => (cell.dataset['label'] = heads[i + 1]!.textContent!))
    matrix.append(row)
  }

  start(feed: string, writes: Writes, every: number, now: number): void {
    this.#worker?.terminate()
    this.meter = new Meter(writes, now)
    this.#worker = new Worker('worker.js', { type: 'module' })
    this.#worker.onmessage = ({ data }: MessageEvent<Report>) => {
      if (data.k === 'has') this.meter.seen(data.n, data.at)
      else if (data.k === 'cost') this.meter.cost(data)
      else this.meter.transport = data.transport
    }
    this.#worker.postMessage({ feed, lane: this.lane.id, every } satisfies Order)
  }

  /** How old its picture is. Ten times a second. */
  age(now: number): void {
    const ms = this.meter.staleness(now)
    this.#set('age', ms < 1 ? 'fresh' : duration(ms))
    this.#row.classList.toggle('stale', ms > late)
  }

  /** The most bytes of a stem that is seen. */
  most(now: number): number {
    return Math.max(0, ...this.meter.costs(now - span).map((c) => c.bytes))
  }

  draw(now: number, p: Pick<Picture, 'most' | 'began' | 'writes'>): void {
    const since = now - span - beat
    this.#plot.draw(now, { ...p, teeth: this.meter.teeth(since, now), costs: this.meter.costs(since) })
  }

  /** Once a second. */
  tell(now: number): Figures {
    this.#plot.measure()
    const f = this.meter.figures(now)
    const { id, name } = this.lane
    const fallen = (id === 'long-poll' || id === 'sse' || id === 'websocket') && this.meter.transport === 'polling'
    this.#row.classList.toggle('fallen', fallen)
    this.#set('says', fallen ? 'Not to be had here: polling instead.' : verdict(f))
    this.#set('typical', duration(f.typical))
    this.#set('requests', rate(f.requests))
    this.#set('bytes', size(f.bytes))
    const cells = [duration(f.typical), duration(f.bad), rate(f.requests), percent(f.vain), size(f.perChange)]
    cells.forEach((text, i) => (this.#cells[i]!.textContent = text))
    this.#plot.canvas.setAttribute('aria-label', `${name}, the last 30 seconds: typically ${duration(f.typical)} behind, ${rate(f.requests)} requests and ${size(f.bytes)} a minute`)
    return f
  }

  #set(field: string, text: string): void {
    const cell = this.#row.querySelector(`[data-f=${field}]`)!
    if (cell.textContent !== text) cell.textContent = text
  }
}
