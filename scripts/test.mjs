// `npm test`: builds what is not built yet, then runs vitest's unit and integration tests. Arguments go on to vitest:
// `npm test -- --project unit` or `npm test -- test/unit/some.test.ts`. Installs nothing; tests that need something this
// machine lacks are listed at the end with the reason.
import { spawnSync } from 'node:child_process';

const root = new URL('..', import.meta.url).pathname;

function run(...args) {
  const { status, signal, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  return signal ? 1 : status;
}

const built = run('scripts/build.mjs');
if (built !== 0) process.exit(built);
process.exitCode = run(
  'node_modules/vitest/vitest.mjs',
  'run',
  '--reporter=default',
  '--reporter=./scripts/test-reporter.mjs',
  ...process.argv.slice(2),
);
