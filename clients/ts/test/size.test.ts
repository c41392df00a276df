import { build } from 'esbuild'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'

/** What an application that uses all of an entry adds to its page, in bytes: bundled and minified, then compressed as on the way. */
async function size(entry: string) {
  const { outputFiles } = await build({
    entryPoints: [new URL(`../src/${entry}.ts`, import.meta.url).pathname],
    bundle: true, minify: true, format: 'esm', target: 'es2022', write: false,
    external: ['react', 'vue'],
  })
  const code = outputFiles[0]!.contents
  return { minified: code.length, gzip: gzipSync(code, { level: 9 }).length, brotli: brotliCompressSync(code).length }
}

// The core is four transports, catching up, and tabs that share: all of `@doorbell/client/core`.
it.each([
  ['core', 8 * 1024],
  ['index', 9.75 * 1024],
  ['signal', 4 * 1024],
  ['persist', 1.25 * 1024],
  ['react', 1024],
  ['svelte', 512],
  ['vue', 512],
  ['tanstack-query', 256],
  ['swr', 256],
])('%s is at most %d bytes, minified and gzipped', async (entry, limit) => {
  const bytes = await size(entry)
  console.log(entry, bytes)
  expect(bytes.gzip).toBeLessThanOrEqual(limit)
})
