// The real server: `doorbell dev`, which can be killed and started again on the same data.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Process, eventually, freePort } from './process.js'

export const binary = process.env['DOORBELL_BIN'] ?? resolve(import.meta.dirname, '../../../../bin/doorbell')

export class DoorbellServer {
  #process: Process | undefined
  readonly data = mkdtempSync(join(tmpdir(), 'doorbell-e2e-'))

  private constructor(readonly port: number) {}

  static async start(): Promise<DoorbellServer> {
    if (!existsSync(binary)) throw new Error(`there is no ${binary}: run scripts/build.sh ./services/doorbell/cmd/doorbell, or set DOORBELL_BIN`)
    const server = new DoorbellServer(await freePort())
    await server.start()
    return server
  }

  get url(): string {
    return 'http://127.0.0.1:' + this.port
  }

  async start(): Promise<void> {
    const p = (this.#process = new Process(binary, ['dev', '--listen', '127.0.0.1:' + this.port, '--data', this.data]))
    await eventually('doorbell is ready: ' + p.said, async () => {
      if (!p.running) throw new Error('doorbell ended: ' + p.said)
      return (await fetch(this.url + '/readyz')).ok
    })
  }

  /** As if the machine lost its power. */
  async kill(): Promise<void> {
    await this.#process?.stop()
  }

  async remove(): Promise<void> {
    await this.kill()
    rmSync(this.data, { recursive: true, force: true })
  }

  async write(feed: string, ...changes: { key: string; value?: unknown; deleted?: boolean }[]): Promise<string> {
    const answer = await fetch(`${this.url}/v1/feeds/${feed}/changes`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ changes }),
    })
    if (!answer.ok) throw new Error(`write: ${answer.status} ${await answer.text()}`)
    return ((await answer.json()) as { cursor: string }).cursor
  }

  async drop(feed: string): Promise<void> {
    const head = (await this.snapshot(feed)).cursor
    const answer = await fetch(`${this.url}/v1/feeds/${feed}`, { method: 'DELETE', headers: { 'If-Match': `"${head}"` } })
    if (!answer.ok) throw new Error(`drop: ${answer.status} ${await answer.text()}`)
  }

  async snapshot(feed: string): Promise<{ cursor: string; items: Record<string, unknown> }> {
    const answer = (await (await fetch(`${this.url}/v1/feeds/${feed}?limit=10000`)).json()) as { cursor: string; items: { key: string; value: unknown }[] }
    return { cursor: answer.cursor, items: Object.fromEntries(answer.items.map((i) => [i.key, i.value])) }
  }

  /** A signed token for everything, for so long. */
  token(ttl: string): string {
    return execFileSync(binary, ['token', '--data', this.data, '--sub', 'somebody', '--read', '*', '--write', '*', '--ttl', ttl]).toString().trim()
  }
}
