// nginx as companies, hotels and mobile networks have it. Each kind has a port of its own; all lead to one Doorbell.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Process, eventually, freePort } from './process.js'

/** What is in the way. */
export type Kind =
  /** Nothing. */
  | 'open'
  /** WebSockets can't be made. */
  | 'noUpgrade'
  /** Nor do streams come through: an answer is passed on when it is complete. */
  | 'buffering'
  /** Requests that take longer than 2 s are cut as well. */
  | 'short'
  /** Query strings are dropped. */
  | 'noQuery'
  /** Streams come through, and everything that takes longer than 2 s is cut. */
  | 'cutsStreams'
  /** WebSockets are cut after 1 s without a byte. */
  | 'killsSockets'

const proxy = 'proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Host $http_host;'
const upgrade = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $doorbell_connection;'
const buffer = 'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;'

const ways: Record<Kind, string> = {
  open: `location / { ${proxy} ${upgrade} proxy_buffering off; }`,
  noUpgrade: `location / { ${proxy} proxy_set_header Connection ""; proxy_buffering off; }`,
  buffering: `location / { ${proxy} proxy_set_header Connection ""; ${buffer} }`,
  short: `location / { ${proxy} proxy_set_header Connection ""; ${buffer} proxy_read_timeout 2s; }`,
  noQuery: `location / { ${proxy} ${upgrade} proxy_pass http://upstream$uri; }`.replace('proxy_pass http://upstream; ', ''),
  cutsStreams: `location / { ${proxy} proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 2s; }`,
  killsSockets: `location / { if ($http_upgrade) { return 418; } ${proxy} proxy_set_header Connection ""; proxy_buffering off; }
    error_page 418 = @socket; location @socket { ${proxy} ${upgrade} proxy_read_timeout 1s; }`,
}

export class Nginx {
  readonly ports = {} as Record<Kind, number>
  readonly #folder = mkdtempSync(join(tmpdir(), 'doorbell-nginx-'))
  #process: Process | undefined

  /** In front of a server at that port; /app/ is that folder. */
  static async start(upstream: number, app: string): Promise<Nginx> {
    const n = new Nginx()
    const f = n.#folder
    let servers = ''
    for (const kind of Object.keys(ways) as Kind[]) {
      const port = (n.ports[kind] = await freePort())
      servers += `server { listen 127.0.0.1:${port}; location /app/ { alias ${app}/; } ${ways[kind]} }\n`
    }
    writeFileSync(join(f, 'nginx.conf'), `daemon off; master_process off; pid ${f}/pid; error_log stderr error; events { worker_connections 1024; }
http {
  access_log off; types { text/html html; text/javascript js; }
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((x) => `${x}_temp_path ${f}/${x};`).join(' ')}
  map $http_upgrade $doorbell_connection { default upgrade; '' ''; }
  upstream upstream { server 127.0.0.1:${upstream} max_fails=0; }
  ${servers}
}`)
    const bin = [process.env['NGINX'] ?? '', '/usr/sbin/nginx', '/opt/homebrew/bin/nginx', '/usr/local/bin/nginx'].find((b) => b && existsSync(b)) ?? 'nginx'
    const p = (n.#process = new Process(bin, ['-p', f, '-e', 'stderr', '-c', join(f, 'nginx.conf')]))
    await eventually('nginx serves', async () => {
      if (!p.running) throw new Error('nginx ended: ' + p.said)
      return (await fetch(`http://127.0.0.1:${n.ports.open}/app/index.html`)).ok
    })
    return n
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
