import { defineConfig } from 'vitest/config';

// Two workers: the suite is sized for two cores, and integration tests start real processes of their own.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    passWithNoTests: false,
  },
});
