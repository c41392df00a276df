// What a page's main thread did, from Chromium's own trace.

import type { CDPSession } from 'playwright-core'

interface Event {
  name: string
  ph: string
  pid: number
  tid: number
  /** In µs: when, how long by the clock, and how long by the thread's own clock, which stands while others have the processor. */
  ts: number
  dur?: number
  tdur?: number
  args?: { name?: string }
}

/** A task, in ms: by the clock, what of that the thread computed, and what it was made of. */
export interface Task {
  wall: number
  cpu: number
  of: string
}

const categories = ['devtools.timeline', 'disabled-by-default-devtools.timeline', 'toplevel', 'v8', 'disabled-by-default-v8.gc']

export class Trace {
  readonly #events: Event[] = []
  private constructor(readonly cdp: CDPSession) {
    cdp.on('Tracing.dataCollected', ({ value }) => this.#events.push(...(value as unknown as Event[])))
  }

  /** Begins, with a session of the page or the browser. */
  static async start(cdp: CDPSession): Promise<Trace> {
    const t = new Trace(cdp)
    await cdp.send('Tracing.start', { traceConfig: { includedCategories: categories, recordMode: 'recordContinuously' }, transferMode: 'ReportEvents' } as never)
    return t
  }

  /** Ends, and gives the tasks of the busiest renderer's main thread, the longest first. */
  async stop(): Promise<Task[]> {
    const done = new Promise((resolve) => this.cdp.once('Tracing.tracingComplete', resolve))
    await this.cdp.send('Tracing.end')
    await done
    const main = new Set(this.#events.filter((e) => e.name === 'thread_name' && e.args?.name === 'CrRendererMain').map((e) => e.pid + ':' + e.tid))
    const threads = group(this.#events.filter((e) => e.ph === 'X' && main.has(e.pid + ':' + e.tid)), (e) => e.pid + ':' + e.tid)
    const busiest = [...threads.values()].sort((a, b) => b.length - a.length)[0] ?? []
    busiest.sort((a, b) => a.ts - b.ts)
    const tasks: Task[] = []
    for (let i = 0; i < busiest.length; i++) {
      const task = busiest[i]!
      if (!/RunTask$/.test(task.name)) continue
      const end = task.ts + (task.dur ?? 0)
      const within: Event[] = []
      while (i + 1 < busiest.length && busiest[i + 1]!.ts < end) within.push(busiest[++i]!)
      const parts = new Map<string, number>()
      for (const e of within) if ((e.dur ?? 0) > 500) parts.set(e.name, (parts.get(e.name) ?? 0) + e.dur!)
      const of = [...parts].sort(([, a], [, b]) => b - a).slice(0, 6).map(([name, us]) => `${name} ${(us / 1_000).toFixed(1)}`).join(', ')
      tasks.push({ wall: (task.dur ?? 0) / 1_000, cpu: (task.tdur ?? NaN) / 1_000, of })
    }
    return tasks.sort((a, b) => b.wall - a.wall)
  }
}

function group<T>(all: T[], by: (x: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const x of all) {
    const g = groups.get(by(x))
    if (g) g.push(x)
    else groups.set(by(x), [x])
  }
  return groups
}
