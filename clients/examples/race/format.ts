// Figures as people read them.

import type { Figures } from './meter.js'

export function duration(ms: number): string {
  if (Number.isNaN(ms)) return '–'
  return ms < 1_000 ? Math.round(ms) + ' ms' : (ms / 1_000).toFixed(ms < 9_950 ? 1 : 0) + ' s'
}

export function size(bytes: number): string {
  if (Number.isNaN(bytes)) return '–'
  if (bytes < 1_000) return Math.round(bytes) + ' B'
  return bytes < 1e6 ? (bytes / 1e3).toFixed(bytes < 9_950 ? 1 : 0) + ' kB' : (bytes / 1e6).toFixed(1) + ' MB'
}

export function rate(n: number): string {
  return n < 9.95 ? n.toFixed(1) : String(Math.round(n))
}

export function percent(share: number): string {
  return Number.isNaN(share) ? '–' : Math.round(share * 100) + ' %'
}

/** What the figures mean. */
export function verdict({ typical, vain, requests }: Figures): string {
  if (Number.isNaN(typical)) return 'Waiting for a change …'
  const fresh = typical < 150 ? 'Fresh at once' : typical < 1_000 ? 'Fresh in a second' : `Late by ${duration(typical)}`
  const tenths = Math.round(vain * 10)
  if (tenths >= 1) return `${fresh}, ${tenths} in 10 requests in vain.`
  return requests > 120 ? `${fresh}, and asks for every change.` : `${fresh}, and no request is in vain.`
}
