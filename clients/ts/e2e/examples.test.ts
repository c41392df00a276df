import { resolve } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { launch } from './harness/browser.js'
import { binary } from './harness/doorbell.js'
import { Process, eventually, freePort } from './harness/process.js'

let browser: Browser
beforeAll(async () => {
  browser = await launch()
})
afterAll(() => browser?.close())

/** Runs an example as its one command does, and looks at it on a small screen and a large one. */
async function run(name: string, look: (page: Page) => Promise<void>): Promise<void> {
  const port = await freePort()
  const p = new Process(process.execPath, [resolve(import.meta.dirname, '../../examples/run.mjs'), name, '--port', String(port)], { DOORBELL_BIN: binary })
  try {
    await eventually(name + ' is there', () => {
      if (!p.running) throw new Error(p.said)
      return p.said.includes('http://')
    }, 60_000)
    for (const width of [1280, 390]) {
      const context = await browser.newContext({ viewport: { width, height: 900 } })
      const page = await context.newPage()
      const wrong: string[] = []
      page.on('pageerror', (e) => wrong.push(e.message))
      // A feed that isn't born yet is a 404, which the browser itself notes.
      page.on('console', (m) => m.type() === 'error' && !m.text().includes('404') && wrong.push(m.text()))
      await page.goto(`http://127.0.0.1:${port}/`)
      await look(page)
      expect(await page.evaluate(() => document.documentElement.scrollWidth), 'nothing sticks out').toBe(width)
      expect(wrong).toEqual([])
      await context.close()
    }
  } finally {
    await p.stop('SIGTERM')
  }
}

describe('examples', () => {
  it('race: five clients, each by its own transport', () => run('race', async (page) => {
    await eventually('all have been seen to be fresh', () => page.evaluate(() => [...document.querySelectorAll('[data-f=typical]')].every((e) => e.textContent !== '–')), 40_000)
    expect(await page.locator('.fallen').count()).toBe(0)
  }))

  it('prices: 200 symbols that move', () => run('prices', async (page) => {
    await eventually('all rows', async () => (await page.locator('tbody tr').count()) === 200, 40_000)
    const prices = () => page.evaluate(() => [...document.querySelectorAll('.price')].map((e) => e.textContent).join())
    const before = await prices()
    await eventually('they move', async () => (await prices()) !== before)
    await page.getByLabel('Find').fill('btc')
    expect(await page.locator('tbody tr').count()).toBe(1)
  }))

  it('board: a card that is added in one tab is in the other', () => run('board', async (page) => {
    await eventually('cards', async () => (await page.locator('.card').count()) >= 4, 40_000)
    const other = await page.context().newPage()
    await other.goto(page.url())
    const text = 'card ' + Math.random()
    await page.getByLabel('A new card').fill(text)
    await page.keyboard.press('Enter')
    await eventually('the card is there', () => other.evaluate((t) => [...document.querySelectorAll('textarea')].some((a) => a.value === t), text))
    await other.close()
  }))
})
