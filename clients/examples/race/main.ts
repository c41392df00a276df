// The page: writes changes, starts the lanes, and lets them show what they see.

import { createDoorbell } from '@doorbell/client'
import { duration, rate } from './format.js'
import { lanes, type LaneID } from './lanes.js'
import { Writes } from './meter.js'
import { span } from './plot.js'
import { Runner } from './runner.js'

const $ = (id: string) => document.getElementById(id)!
const now = () => performance.timeOrigin + performance.now()
const calm = matchMedia('(prefers-reduced-motion: reduce)')

/** A group of radio buttons; gives what is chosen. */
function choice(id: string, options: [label: string, value: number][], chosen: number, changed: () => void): () => number {
  $(id).innerHTML = options
    .map(([label, value]) => `<label><input type="radio" name="${id}" value="${value}"${value === chosen ? ' checked' : ''}><span>${label}</span></label>`)
    .join('')
  $(id).addEventListener('change', changed)
  return () => Number($(id).querySelector<HTMLInputElement>(':checked')!.value)
}

const runners = lanes.map((lane) => new Runner(lane, $('lanes'), $('matrix'), document.querySelectorAll('thead th')))
const writer = createDoorbell({ url: '', tabs: false, transports: [] })
let writes = new Writes()
let feed = ''
let began = now()
let paused = false
let next: ReturnType<typeof setTimeout>

const between = choice('rate', [['10 s', 10_000], ['3 s', 3_000], ['1 s', 1_000], ['0.2 s', 200]], 3_000, plan)
const every = choice('interval', [['1 s', 1_000], ['5 s', 5_000], ['15 s', 15_000]], 5_000, () => void restart())

async function write(): Promise<void> {
  const n = writes.add(now())
  const text = '₩' + (50_000_000 + Math.round(Math.random() * 1e6)).toLocaleString('en')
  await writer.feed(feed).put('beat', { n, text }).catch((e: Error) => ($('server').textContent = e.message))
}

function plan(): void {
  clearTimeout(next)
  if (paused) return
  // Not in step with anybody's clock.
  next = setTimeout(() => {
    void write()
    plan()
  }, between() * (0.6 + Math.random() * 0.8))
}

async function restart(): Promise<void> {
  writes = new Writes()
  feed = 'race:' + Math.random().toString(36).slice(2)
  began = now()
  for (const r of runners) r.start(feed, writes, every(), began)
  pause(false)
  announceAt = now() + 20_000
  plan()
  await write()
}

function pause(on: boolean): void {
  paused = on
  $('pause').setAttribute('aria-pressed', String(on))
  plan()
}

const scales = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000]
let most = scales[0]!
function draw(): void {
  const at = now()
  const seen = writes.at.filter((t) => t > at - span)
  for (const r of runners) r.draw(at, { most, began, writes: seen })
}

/** When to speak next to those who hear the page; often would be worse than never. */
let announceAt = 0

function tell(): void {
  const at = now()
  const told = new Map(runners.map((r) => [r.lane.id, r.tell(at)]))
  const highest = Math.max(...runners.map((r) => r.most(at)))
  most = scales.find((s) => s >= highest) ?? highest
  const of = (id: LaneID) => `takes ${duration(told.get(id)!.typical)} and ${rate(told.get(id)!.requests)} requests a minute`
  const known = [told.get('websocket'), told.get('fixed')].every((f) => f!.typical >= 0)
  const text = known ? `Until news is there, a WebSocket ${of('websocket')}; fixed polling ${of('fixed')}.` : 'Nothing yet.'
  $('measured').textContent = text
  if (!known || at < announceAt) return
  $('said').textContent = text
  announceAt = at + 60_000
}

$('once').addEventListener('click', () => void write())
$('pause').addEventListener('click', () => pause(!paused))
$('restart').addEventListener('click', () => void restart())
void restart()
document.querySelector('main')!.hidden = false
tell()
addEventListener('resize', () => runners.forEach((r) => r.tell(now())))

setInterval(() => paused || runners.forEach((r) => r.age(now())), 100)
setInterval(() => {
  if (paused) return
  tell()
  if (calm.matches) draw()
}, 1_000)
let odd = false
;(function frame() {
  // Half of the frames are enough for what moves 16 pixels a second.
  if (!calm.matches && !paused && (odd = !odd)) draw()
  requestAnimationFrame(frame)
})()
