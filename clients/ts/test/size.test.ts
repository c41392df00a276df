import { build } from 'esbuild'
import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'

/** What an application that uses all of an entry adds to its page, in bytes. */
async function size(entry: string): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [new URL(`../src/${entry}.ts`, import.meta.url).pathname],
    bundle: true, minify: true, format: 'esm', target: 'es2022', write: false,
    external: ['react', 'vue'],
  })
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length
}

it.each([
  ['core', 9 * 1024],
  ['index', 10.5 * 1024],
  ['persist', 1.25 * 1024],
  ['react', 1024],
  ['svelte', 512],
  ['vue', 512],
  ['tanstack-query', 256],
  ['swr', 256],
])('%s is at most %d bytes, minified and gzipped', async (entry, limit) => {
  expect(await size(entry)).toBeLessThanOrEqual(limit)
})
