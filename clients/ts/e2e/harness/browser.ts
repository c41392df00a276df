// A real Chromium, and pages in it that follow a feed.

import { existsSync } from 'node:fs'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { eventually } from './process.js'

/** Finds the browser where scripts/setup.sh looks. */
function executable(): string {
  const places = [
    process.env['CHROMIUM'] ?? '', '/usr/bin/google-chrome', '/usr/bin/chromium', '/usr/bin/chromium-browser', '/snap/bin/chromium',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome', '/Applications/Chromium.app/Contents/MacOS/Chromium',
  ]
  const found = places.find((p) => p && existsSync(p))
  if (!found) throw new Error('there is no Chromium or Google Chrome here; run scripts/setup.sh chromium, or set CHROMIUM to its path')
  return found
}

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: executable(),
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
    ],
  })
}

/** What a page tells of its feed. */
export interface Seen {
  items: Record<string, unknown>
  cursor: string
  state: string
  transport: string
  leads: boolean
  error: string
  staleSince: number
}

export class Tab {
  sockets = 0
  requests: string[] = []
  private constructor(readonly page: Page) {
    page.on('websocket', () => this.sockets++)
    page.on('request', (r) => r.url().includes('/v1/') && this.requests.push(r.url()))
  }

  /** Opens a page that follows a feed. */
  static async open(context: BrowserContext, origin: string, feed: string, options: object = {}, file = 'index.html'): Promise<Tab> {
    const tab = new Tab(await context.newPage())
    await tab.page.goto(origin + '/app/' + file)
    await tab.page.evaluate(([feed, options]) => window.follow(feed, options), [feed, options] as const)
    return tab
  }

  see(): Promise<Seen> {
    return this.page.evaluate(() => window.see())
  }

  /** Waits until the page sees what it should; gives how long that took, in ms. */
  async until(what: string, test: (s: Seen) => boolean, within?: number): Promise<number> {
    const began = Date.now()
    let last: Seen | undefined
    await eventually(what, async () => test((last = await this.see())), within).catch((e) => {
      throw new Error(`${(e as Error).message}; last seen: ${JSON.stringify(last)?.slice(0, 600)}`)
    })
    return Date.now() - began
  }
}
