// A lane's curve: staleness over the last half minute, on a scale that shows 10 ms as well as 10 s.

/** What the plot spans, in ms. */
export const span = 30_000
const steps = [10, 100, 1_000, 10_000]
/** 0 to 1 for 0 to 10 s. */
const height = (ms: number) => Math.min(1, Math.max(0, Math.log10(Math.max(ms, 1)) / 4))

export class Plot {
  readonly #points: { at: number; ms: number }[] = []
  readonly #context: CanvasRenderingContext2D

  constructor(readonly canvas: HTMLCanvasElement) {
    this.#context = canvas.getContext('2d')!
  }

  add(at: number, ms: number): void {
    this.#points.push({ at, ms })
    while (this.#points.length && this.#points[0]!.at < at - span - 1_000) this.#points.shift()
  }

  draw(now: number): void {
    const { canvas } = this
    const g = this.#context
    const style = getComputedStyle(canvas)
    const ratio = devicePixelRatio
    const w = canvas.clientWidth
    const h = canvas.clientHeight
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio)
      canvas.height = Math.round(h * ratio)
    }
    g.setTransform(ratio, 0, 0, ratio, 0, 0)
    g.clearRect(0, 0, w, h)
    const left = 52
    const top = 8
    const bottom = h - 6
    const x = (at: number) => left + (w - left) * (1 - (now - at) / span)
    const y = (ms: number) => bottom - (bottom - top) * height(ms)

    g.font = `11px ${style.fontFamily}`
    g.textBaseline = 'middle'
    g.textAlign = 'right'
    for (const ms of steps) {
      g.strokeStyle = style.getPropertyValue('--rule')
      g.lineWidth = 1
      g.beginPath()
      const at = Math.round(y(ms)) + 0.5
      g.moveTo(left, at)
      g.lineTo(w, at)
      g.stroke()
      g.fillStyle = style.getPropertyValue('--soft')
      g.fillText(ms < 1_000 ? ms + ' ms' : ms / 1_000 + ' s', left - 6, at)
    }

    const color = style.color
    const points = this.#points
    if (!points.length) return
    g.save()
    g.beginPath()
    g.rect(left, 0, w - left, h)
    g.clip()
    g.beginPath()
    g.moveTo(x(points[0]!.at), bottom)
    for (const p of points) g.lineTo(x(p.at), y(p.ms))
    const line = new Path2D()
    points.forEach((p, i) => (i ? line.lineTo(x(p.at), y(p.ms)) : line.moveTo(x(p.at), y(p.ms))))
    g.lineTo(x(points.at(-1)!.at), bottom)
    g.closePath()
    const wash = g.createLinearGradient(0, top, 0, bottom)
    wash.addColorStop(0, color)
    wash.addColorStop(1, 'transparent')
    g.globalAlpha = 0.28
    g.fillStyle = wash
    g.fill()
    g.globalAlpha = 1
    g.strokeStyle = color
    g.lineWidth = 1.75
    g.lineJoin = 'round'
    g.stroke(line)
    g.restore()
  }
}
