// All of it together: Doorbell behind nginx behind a network, and a browser.

import { build } from 'esbuild'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Browser, BrowserContext } from 'playwright-core'
import { launch } from './browser.js'
import { DoorbellServer } from './doorbell.js'
import { Network } from './network.js'
import { Nginx, type Kind } from './nginx.js'

export class World {
  private constructor(
    readonly server: DoorbellServer,
    readonly nginx: Nginx,
    readonly network: Network,
    readonly browser: Browser,
    readonly app: string,
  ) {}

  static async create(): Promise<World> {
    const app = mkdtempSync(join(tmpdir(), 'doorbell-app-'))
    await build({
      entryPoints: ['page.ts', 'list.tsx'].map((f) => resolve(import.meta.dirname, '../page', f)), bundle: true, format: 'esm', outdir: app, jsx: 'automatic',
      define: { 'process.env.NODE_ENV': '"production"' }, logLevel: 'error',
    })
    const html = (...scripts: string[]) => '<!doctype html><title>Doorbell</title>' + scripts.map((f) => `<script type="module" src="${f}"></script>`).join('')
    writeFileSync(join(app, 'index.html'), html('page.js'))
    writeFileSync(join(app, 'list.html'), html('page.js', 'list.js'))
    const server = await DoorbellServer.start()
    const nginx = await Nginx.start(server.port, app)
    const network = await Network.start(nginx.ports.open)
    return new World(server, nginx, network, await launch(), app)
  }

  get origin(): string {
    return this.network.url
  }

  /** A browser profile of its own. */
  context(): Promise<BrowserContext> {
    return this.browser.newContext()
  }

  /** What lies between from now on. */
  way(kind: Kind): void {
    this.network.reroute(this.nginx.ports[kind])
  }

  async end(): Promise<void> {
    await this.browser.close()
    this.network.close()
    await this.nginx.stop()
    await this.server.remove()
    rmSync(this.app, { recursive: true, force: true })
  }
}
