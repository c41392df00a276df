import { resolve } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { launch } from './harness/browser.js'
import { binary } from './harness/doorbell.js'
import { check, tabThrough, watch } from './harness/look.js'
import { Process, eventually, freePort } from './harness/process.js'

let browser: Browser
beforeAll(async () => {
  browser = await launch()
})
afterAll(() => browser?.close())

/**
 * Runs an example as its one command does, and looks at it on a large screen, and on a small one of somebody who wants no motion: first
 * when `come` says that its data is there, which must not have moved anything.
 */
async function run(name: string, come: (page: Page) => Promise<void>, look: (page: Page, context: BrowserContext, wrong: string[]) => Promise<void>): Promise<void> {
  const port = await freePort()
  const p = new Process(process.execPath, [resolve(import.meta.dirname, '../../examples/run.mjs'), name, '--port', String(port)], { DOORBELL_BIN: binary })
  try {
    await eventually(name + ' is there', () => {
      if (!p.running) throw new Error(p.said)
      return p.said.includes('http://')
    }, 60_000)
    for (const [width, reducedMotion] of [[1280, 'no-preference'], [390, 'reduce']] as const) {
      const context = await browser.newContext({ viewport: { width, height: 900 }, reducedMotion })
      const page = await context.newPage()
      const { wrong, shift } = await watch(page)
      await page.goto(`http://127.0.0.1:${port}/`)
      await come(page)
      const shifted = await shift()
      console.log(`${name}, ${width} wide: layout shift ${shifted.toFixed(4)}`)
      expect(shifted).toBeLessThan(0.1)
      await look(page, context, wrong)
      await check(page, width)
      expect(wrong).toEqual([])
      await context.close()
    }
  } finally {
    await p.stop('SIGTERM')
  }
}

describe('examples', () => {
  it('race: five clients, each by its own transport, and a word about each', () => run('race', (page) =>
    eventually('all have a verdict', () => page.evaluate(() => [...document.querySelectorAll('.says')].every((e) => /fresh|late/i.test(e.textContent!))), 40_000)
  , async (page) => {
    expect(await page.locator('.fallen').count()).toBe(0)
    expect(await page.locator('#said').textContent(), 'it is not chatty').toBe('')
    expect(await tabThrough(page, 20)).toEqual([
      'Skip to the lanes', '3 s', '5 s', 'Change it now', 'Pause', 'Start over', 'The figures',
    ])
    await page.getByRole('button', { name: 'Pause' }).click()
    const age = () => page.locator('[data-f=age]').allTextContents()
    const before = await age()
    await page.waitForTimeout(500)
    expect(await age(), 'nothing moves').toEqual(before)
  }))

  it('prices: 200 symbols that move', () => run('prices', (page) =>
    eventually('all rows', async () => (await page.locator('tbody tr').count()) === 200, 40_000)
  , async (page, context) => {
    const prices = () => page.evaluate(() => [...document.querySelectorAll('.price')].map((e) => e.textContent).join())
    const before = await prices()
    await eventually('they move', async () => (await prices()) !== before)
    // Changes come ten times a second, and are not to be read out.
    const words = await page.evaluate(() => new Promise<number>((resolve) => {
      let n = 0
      new MutationObserver(() => n++).observe(document.querySelector('[role=status]')!, { characterData: true, subtree: true, childList: true })
      setTimeout(() => resolve(n), 2_000)
    }))
    expect(words).toBeLessThan(3)
    const cdp = await context.newCDPSession(page)
    await cdp.send('Performance.enable', { timeDomain: 'threadTicks' })
    const busy = async () => (await cdp.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration')!.value
    const began = await busy()
    await page.waitForTimeout(2_000)
    console.log(`prices: the page's thread computes for ${(((await busy()) - began) * 50).toFixed(0)} % of the time`)
    expect(await tabThrough(page, 10)).toEqual(['Find', expect.stringMatching(/^Order/), expect.stringMatching(/^Trades/)])
    await page.getByLabel('Find').fill('btc')
    expect(await page.locator('tbody tr').count()).toBe(1)
  }))

  it('board: tabs share cards, offline they wait, and the keyboard stays with the card', () => run('board', (page) =>
    eventually('cards', async () => (await page.locator('.card').count()) >= 4, 40_000)
  , async (page, context, wrong) => {
    const other = await context.newPage()
    await other.goto(page.url())
    const has = (text: string, column: string) => other.evaluate(([text, column]) =>
      [...document.querySelectorAll(`section[aria-label="${column}"] textarea`)].some((a) => (a as HTMLTextAreaElement).value === text), [text, column])
    const add = async (text: string) => {
      await page.getByLabel('A new card').fill(text)
      await page.keyboard.press('Enter')
    }
    const text = 'card ' + Math.random()
    await add(text)
    await eventually('the card is there', () => has(text, 'To do'))

    // Moved twice with the keyboard alone.
    await page.getByRole('button', { name: `Move “${text}” to Doing` }).focus()
    await page.keyboard.press('Enter')
    await eventually('the focus is where it was', () => page.evaluate(() => document.activeElement!.getAttribute('aria-label')!.endsWith('to Done')))
    await page.keyboard.press('Enter')
    await eventually('the card is done', () => has(text, 'Done'))

    await context.setOffline(true)
    const later = 'later ' + Math.random()
    await add(later)
    await eventually('it waits', async () => (await page.locator('[role=status]').textContent())!.includes('1 change waiting'))
    expect(await page.evaluate((t) => [...document.querySelectorAll('textarea')].some((a) => a.value === t), later)).toBe(true)
    await check(page, page.viewportSize()!.width)
    await context.setOffline(false)
    await eventually('it is there', () => has(later, 'To do'), 40_000)
    await eventually('nothing waits', async () => !(await page.locator('[role=status]').textContent())!.includes('waiting'))
    // The browser itself notes what it couldn't get.
    wrong.splice(0, Infinity, ...wrong.filter((w) => !w.includes('ERR_INTERNET_DISCONNECTED')))
    await other.close()
  }))
})
