// Processes that end with the test, and ports.

import { spawn, type ChildProcess } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'

/** A port of the loopback that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

export class Process {
  readonly child: ChildProcess
  #said = ''
  readonly #ended: Promise<void>

  constructor(command: string, args: string[], env: Record<string, string> = {}) {
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    for (const stream of [this.child.stdout!, this.child.stderr!]) stream.on('data', (d) => (this.#said = (this.#said + d).slice(-8_000)))
    this.#ended = new Promise((resolve) => {
      this.child.once('close', () => resolve())
      this.child.once('error', (e) => {
        this.#said += e
        resolve()
      })
    })
  }

  get said(): string {
    return this.#said
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null && this.child.pid !== undefined
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.running) this.child.kill(signal)
    await this.#ended
  }
}

/** Waits until it is true, or throws after so many ms. */
export async function eventually(what: string, test: () => unknown, within = 20_000): Promise<void> {
  const until = Date.now() + within
  for (let last: unknown; ; ) {
    try {
      if (await test()) return
    } catch (e) {
      last = e
    }
    if (Date.now() > until) throw new Error(`not within ${within} ms: ${what}${last ? ` (${last})` : ''}`)
    await sleep(25)
  }
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Prints how long something took, for whoever measures on a quiet machine; fails only if it is far from what is promised, in ms. */
export function took(what: string, ms: number, promised: number): void {
  console.log(`${what}: ${(ms / 1_000).toFixed(2)} s (promised: ${promised / 1_000} s)`)
  if (ms > Math.max(10_000, promised * 1.5)) throw new Error(`${what} took ${ms} ms; promised are ${promised}`)
}
