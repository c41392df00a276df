// Runs one example against a Doorbell of its own: node run.mjs race [--port 8090]
// It is bundled in memory; requests below /v1/ go on to `doorbell dev`, so that all is one origin, as recommended.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { connect, createServer as createTCP } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'

const here = import.meta.dirname
const { values, positionals } = parseArgs({ allowPositionals: true, options: { port: { type: 'string', default: '8090' } } })
const name = positionals[0] ?? ''
const folder = join(here, name)
if (!/^[a-z]+$/.test(name) || !existsSync(join(folder, 'index.html'))) {
  console.error(`run: there is no example ${JSON.stringify(name)}; allowed: race, prices, board`)
  process.exit(2)
}
const binary = process.env.DOORBELL_BIN ?? resolve(here, '../../bin/doorbell')
if (!existsSync(binary)) {
  console.error(`run: there is no ${binary}; use \`make example NAME=${name}\`, which builds it`)
  process.exit(1)
}

const entries = ['main.ts', 'main.tsx', 'worker.ts', 'simulator.ts'].map((f) => join(folder, f)).filter(existsSync)
const { outputFiles } = await build({
  entryPoints: entries, bundle: true, format: 'esm', target: 'es2022', jsx: 'automatic', minify: true, write: false, outdir: '/',
  sourcemap: 'inline', define: { 'process.env.NODE_ENV': '"production"' },
})
const built = new Map(outputFiles.map((f) => [f.path, f.contents]))

const freePort = () => new Promise((resolve) => {
  const s = createTCP().listen(0, '127.0.0.1', () => {
    const { port } = s.address()
    s.close(() => resolve(port))
  })
})
const upstream = { host: '127.0.0.1', port: await freePort() }
const data = mkdtempSync(join(tmpdir(), 'doorbell-example-'))
const doorbell = spawn(binary, ['dev', '--listen', `${upstream.host}:${upstream.port}`, '--data', data], { stdio: ['ignore', 'ignore', 'inherit'] })
const end = (code) => {
  doorbell.kill()
  rmSync(data, { recursive: true, force: true })
  process.exit(code)
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => end(0))
doorbell.on('exit', () => end(1))

const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' }
const server = createServer((req, res) => {
  const path = new URL(req.url, 'http://x').pathname
  if (path.startsWith('/v1/')) {
    const onward = request({ ...upstream, method: req.method, path: req.url, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.rawHeaders)
      answer.pipe(res)
    })
    onward.on('error', () => (res.headersSent ? res.destroy() : res.writeHead(502).end()))
    res.on('close', () => onward.destroy())
    return void req.pipe(onward)
  }
  const file = path === '/' ? '/index.html' : path
  const type = types[extname(file)]
  const content = built.get(file) ?? (type && /^\/[a-z]+\.(html|css)$/.test(file) && existsSync(join(folder, file)) ? readFileSync(join(folder, file)) : undefined)
  if (!content) return void res.writeHead(404).end()
  res.writeHead(200, { 'Content-Type': type + '; charset=utf-8', 'Cache-Control': 'no-cache' }).end(content)
})
server.on('upgrade', (req, socket, head) => {
  const onward = connect(upstream, () => {
    const headers = []
    for (let i = 0; i < req.rawHeaders.length; i += 2) headers.push(`${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}`)
    onward.write(`${req.method} ${req.url} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`)
    onward.write(head)
    onward.pipe(socket).pipe(onward)
  })
  for (const [a, b] of [[socket, onward], [onward, socket]]) {
    a.on('error', () => b.destroy())
    a.on('close', () => b.destroy())
  }
})
server.on('error', (e) => {
  console.error('run: ' + e.message)
  end(1)
})
for (;;) {
  if ((await fetch(`http://${upstream.host}:${upstream.port}/readyz`).catch(() => ({ ok: false }))).ok) break
  await new Promise((r) => setTimeout(r, 50))
}
const seed = join(folder, 'seed.json')
if (existsSync(seed)) {
  // The feed is there when the page asks for it.
  const { feed, changes } = JSON.parse(readFileSync(seed, 'utf8'))
  const what = changes.length ? ['changes', JSON.stringify({ changes })] : ['touch', '']
  const answer = await fetch(`http://${upstream.host}:${upstream.port}/v1/feeds/${feed}/${what[0]}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: what[1] })
  if (!answer.ok) {
    console.error(`run: ${answer.status} ${await answer.text()}`)
    end(1)
  }
}
server.listen(Number(values.port), '127.0.0.1', () => console.log(`${name}: http://127.0.0.1:${server.address().port}/ (Ctrl-C stops it)`))
