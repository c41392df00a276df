// What can be said of any page: that nothing is wrong with it.

import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { expect } from 'vitest'

/** Notes what goes wrong in a page from now on: errors, warnings, and what moves while nobody does anything. Before it goes anywhere. */
export async function watch(page: Page): Promise<{ wrong: string[]; shift: () => Promise<number> }> {
  const wrong: string[] = []
  page.on('pageerror', (e) => wrong.push(e.message))
  page.on('console', (m) => ['error', 'warning'].includes(m.type()) && wrong.push(m.text()))
  await page.addInitScript(() => {
    const w = window as unknown as { shifted: number }
    w.shifted = 0
    // The boxes that moved; a right-aligned figure that gets wider moves as well, but pushes nothing.
    new PerformanceObserver((l) => {
      for (const e of l.getEntries() as unknown as { value: number; sources: { node?: Node }[] }[]) {
        if (e.sources.some((s) => s.node instanceof HTMLElement && getComputedStyle(s.node).display !== 'inline-block')) w.shifted += e.value
      }
    }).observe({ type: 'layout-shift', buffered: true })
  })
  return { wrong, shift: () => page.evaluate(() => (window as unknown as { shifted: number }).shifted) }
}

/** No violation of WCAG 2.2 A and AA, contrast included, in light and dark, and nothing that sticks out. */
export async function check(page: Page, width: number): Promise<void> {
  await page.evaluate(axe.source)
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }))
    expect(violations.map((v) => `${colorScheme}, ${width} wide: ${v.help}: ${v.nodes.map((n) => n.target + ' ' + (n.any[0]?.message ?? '')).slice(0, 3).join(' | ')}`)).toEqual([])
  }
  expect(await page.evaluate(() => document.documentElement.scrollWidth), 'nothing sticks out').toBe(width)
}

/** Goes through the page with the Tab key. Gives what it stops at, and expects that one sees where that is. */
export async function tabThrough(page: Page, most: number): Promise<string[]> {
  const stops: string[] = []
  for (let i = 0; i < most; i++) {
    await page.keyboard.press('Tab')
    const stop = await page.evaluate(() => {
      const e = document.activeElement as HTMLElement
      if (!e || e === document.body) return undefined
      const ring = [e, e.nextElementSibling].some((x) => x && getComputedStyle(x).outlineStyle !== 'none' && parseFloat(getComputedStyle(x).outlineWidth) >= 1)
      const name = e.getAttribute('aria-label') || (e as HTMLInputElement).labels?.[0]?.textContent || e.textContent!.trim().slice(0, 40)
      return { name: name.trim(), ring }
    })
    if (!stop) break
    expect(stop.ring, `one sees that the focus is on ${stop.name}`).toBe(true)
    stops.push(stop.name)
  }
  return stops
}
