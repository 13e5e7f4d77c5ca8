import { defineConfig } from 'vitest/config';

// Two workers: the suite is sized for two cores, and integration tests start real processes of their own.
export default defineConfig({
  // The package's own name resolves to its sources, as in a clone.
  resolve: { conditions: ['skein-source', 'node', 'import', 'default'] },
  ssr: { resolve: { conditions: ['skein-source', 'node', 'import', 'default'] } },
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    passWithNoTests: false,
  },
});
