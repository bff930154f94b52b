import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      // No test waits for a time to pass; a busy machine may take long.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      // These fetch packages or take minutes: only when they are asked for, as CI does.
      ...(process.env.TINYCTR_SLOW_TESTS
        ? [
            {
              test: { name: 'slow', include: ['test/slow/**/*.test.ts'], testTimeout: 400_000, fileParallelism: false },
            },
          ]
        : []),
    ],
  },
});
