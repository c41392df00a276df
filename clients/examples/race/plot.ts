// A lane's picture of the last half minute. Above: how old what it shows is, on a scale that has room for 10 ms and for 10 s. Below: a
// stem for what went over the wire, with a head where a request began.

import type { Cost, Tooth } from './meter.js'
import { size } from './format.js'

/** What the plot spans, in ms. */
export const span = 30_000
/** Costs are told this often, in ms; a stem is for one of these. */
export const beat = 250
const steps: [ms: number, label: string][] = [[1, 'fresh'], [10, '10 ms'], [100, '100 ms'], [1_000, '1 s'], [10_000, '10 s']]
/** 0 to 1 for 1 ms to 10 s. */
const height = (ms: number) => Math.min(1, Math.max(0, Math.log10(Math.max(ms, 1)) / 4))
/** More changes than these are not marked one by one. */
const marks = 40

export interface Picture {
  teeth: Tooth[]
  costs: Cost[]
  /** When something was written. */
  writes: number[]
  /** What the highest stem of any lane stands for, in bytes. */
  most: number
  /** Since when there is something to show. */
  began: number
}

export class Plot {
  readonly #g: CanvasRenderingContext2D
  #ink = { lane: '', rule: '', soft: '', font: '' }

  constructor(readonly canvas: HTMLCanvasElement) {
    this.#g = canvas.getContext('2d')!
  }

  /** Looks at the style sheet again: the size and the colours may have changed. */
  measure(): void {
    const { canvas } = this
    const style = getComputedStyle(canvas)
    this.#ink = { lane: style.color, rule: style.getPropertyValue('--rule'), soft: style.getPropertyValue('--soft'), font: `11px ${style.fontFamily}` }
    const [w, h] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.round(n * devicePixelRatio)) as [number, number]
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h })
  }

  draw(now: number, p: Picture): void {
    const g = this.#g
    const { lane, rule, soft, font } = this.#ink
    const [w, h] = [this.canvas.width / devicePixelRatio, this.canvas.height / devicePixelRatio]
    g.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0)
    g.clearRect(0, 0, w, h)
    const [left, top, axis] = [54, 8, h - 17]
    const [base, wire] = [axis - 38, axis - 24] // where the curve ends, and where the stems' room begins
    const x = (at: number) => left + (w - left - 2) * (1 - (now - at) / span)
    const y = (ms: number) => base - (base - top) * height(ms)
    const crisp = (n: number) => Math.round(n) + 0.5
    const line = (x1: number, y1: number, x2: number, y2: number) => {
      g.beginPath()
      g.moveTo(x1, y1)
      g.lineTo(x2, y2)
      g.stroke()
    }

    Object.assign(g, { font, textBaseline: 'middle', textAlign: 'right', fillStyle: soft, strokeStyle: rule, lineWidth: 1 })
    for (const [ms, label] of steps) {
      line(left, crisp(y(ms)), w, crisp(y(ms)))
      g.fillText(label, left - 7, crisp(y(ms)))
    }
    line(left, crisp(axis), w, crisp(axis))
    g.fillText(size(p.most).replace('.0', ''), left - 7, crisp(wire + 4))
    g.textBaseline = 'alphabetic'
    for (const s of [30, 20, 10, 0]) {
      const at = x(now - s * 1_000)
      line(crisp(at) - 1, axis, crisp(at) - 1, axis + 4)
      g.textAlign = s === 30 ? 'left' : s === 0 ? 'right' : 'center'
      g.fillText(s ? `${s} s ago` : 'now', at, h - 2)
    }

    g.save()
    g.beginPath()
    g.rect(left, 0, w - left, h)
    g.clip()
    if (p.writes.length <= marks) {
      g.setLineDash([2, 3])
      g.strokeStyle = soft
      g.globalAlpha = 0.55
      for (const at of p.writes) line(crisp(x(at)), top, crisp(x(at)), axis)
      g.setLineDash([])
      g.globalAlpha = 1
    }
    this.#curve(p, now, x, y, base, top)
    g.fillStyle = g.strokeStyle = lane
    g.lineWidth = 2
    for (const c of p.costs) {
      const at = x(c.at)
      const end = axis - (axis - wire) * Math.min(1, c.bytes / p.most)
      line(at, axis, at, end)
      if (!c.requests) continue
      g.beginPath()
      g.arc(at, end, 2.75, 0, 2 * Math.PI)
      g.fill()
    }
    g.restore()
  }

  #curve(p: Picture, now: number, x: (at: number) => number, y: (ms: number) => number, base: number, top: number): void {
    const g = this.#g
    const path = new Path2D()
    path.moveTo(x(p.began), base)
    for (const { oldest, from, to } of p.teeth) {
      path.lineTo(x(from), y(from - oldest))
      // A straight rise in time is a curve on this scale.
      for (let ms = 2; from + ms < to; ms *= 1.4) path.lineTo(x(from + ms), y(from + ms - oldest))
      path.lineTo(x(to), y(to - oldest))
      if (to < now) path.lineTo(x(to), base)
    }
    const area = new Path2D(path)
    if (!p.teeth.length || p.teeth.at(-1)!.to < now) path.lineTo(x(now), base)
    area.lineTo(x(now), base)
    area.closePath()
    const wash = g.createLinearGradient(0, top, 0, base)
    wash.addColorStop(0, this.#ink.lane)
    wash.addColorStop(1, 'transparent')
    g.globalAlpha = 0.32
    g.fillStyle = wash
    g.fill(area)
    g.globalAlpha = 1
    Object.assign(g, { strokeStyle: this.#ink.lane, lineWidth: 1.75, lineJoin: 'round' })
    g.stroke(path)
  }
}
