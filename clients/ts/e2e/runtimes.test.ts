import { build } from 'esbuild'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DoorbellServer } from './harness/doorbell.js'
import { Process, eventually } from './harness/process.js'

const bin = (name: string) => resolve(import.meta.dirname, '../../node_modules/.bin', name)
// Node 20 has no WebSocket, so that there the events are next.
const runtimes: [name: string, command: string[], transport: string][] = [
  ['Node', [process.execPath], 'WebSocket' in globalThis ? 'websocket' : 'sse'],
  ['Deno, which may do nothing but connect', [bin('deno'), 'run', '--no-config', '--allow-net=127.0.0.1'], 'websocket'],
  ['Bun', [bin('bun'), 'run'], 'websocket'],
]

let server: DoorbellServer
const folder = mkdtempSync(join(tmpdir(), 'doorbell-runtime-'))
const script = join(folder, 'follow.mjs')
beforeAll(async () => {
  server = await DoorbellServer.start()
  await build({ entryPoints: [resolve(import.meta.dirname, 'runtime/follow.ts')], bundle: true, minify: true, format: 'esm', target: 'es2022', outfile: script, logLevel: 'error' })
})
afterAll(async () => {
  await server?.remove()
  rmSync(folder, { recursive: true, force: true })
})

describe('follows, writes, sees and stops in', () => {
  it.for(runtimes)('%s', async ([name, [command, ...args], transport]) => {
    const feed = 'runtime:' + name.slice(0, 4)
    await server.write(feed, { key: 'x', value: 1 })
    const p = new Process(command!, [...args, script, server.url, feed])
    const said = (what: object) => eventually(JSON.stringify(what), () => {
      if (p.said.includes(JSON.stringify(what))) return true
      throw new Error(`${p.running ? 'it runs' : 'it ended'}, and said: ${p.said}`)
    })
    try {
      await said({ first: 1 })
      await said({ live: transport })
      await server.write(feed, { key: 'x', value: 2 })
      await said({ x: 2 })
      await eventually('its write is there', async () => (await server.snapshot(feed)).items['y'] === 3)
      await server.write(feed, { key: 'x', value: 4 })
      await eventually('it ends by itself', () => !p.running)
      expect(p.said).toContain(JSON.stringify({ end: 'AbortError' }))
      expect(p.child.exitCode, p.said).toBe(0)
    } finally {
      await p.stop()
    }
  })
})
