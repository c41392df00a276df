// Figures as people read them.

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
