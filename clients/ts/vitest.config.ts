import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/**/*.test.ts', 'test/**/*.test.tsx'], testTimeout: 20_000 } },
      // One file after the other: each has its own server, and some look at the clock.
      { test: { name: 'e2e', include: ['e2e/*.test.ts'], fileParallelism: false, testTimeout: 90_000, hookTimeout: 120_000 } },
      { test: { name: 'measure', include: ['e2e/measure/*.test.ts'], hookTimeout: 120_000 } },
    ],
  },
})
