import { fileURLToPath } from 'node:url';
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
    // Clusters of the tests have folders of their own; what their processes compile is the same.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url)) },
  },
});
