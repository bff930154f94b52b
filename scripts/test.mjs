// `npm test`: builds what is not built yet, then runs vitest's unit and integration tests. Arguments go on to vitest:
// `npm test -- --project unit` or `npm test -- test/unit/some.test.ts`. Installs nothing; tests that need something this
// machine lacks are listed at the end with the reason.
//
// TINYCTR_SECOND_TRY=1 (CI): a few files that fail are run once more, alone. What passes then is listed as unsteady: these tests are about
// a kernel that other processes use at the same time, and one race in thousands of cases is to be told, not to hide all the others.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countsLine } from './test-reporter.mjs';

const root = new URL('..', import.meta.url).pathname;
/** More than so many are no accident. */
const FEW_FILES = 5;

function run(args, env = process.env) {
  const { status, signal, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env });
  if (error) throw error;
  return signal ? 1 : status;
}

const vitest = (args, env) =>
  run(
    ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=./scripts/test-reporter.mjs', ...args],
    env,
  );

/** vitest's exit status, and what the reporter has counted; nothing if it did not come so far. */
function counted(args) {
  const folder = mkdtempSync(join(tmpdir(), 'tinyctr-tests-'));
  try {
    const file = join(folder, 'result.json');
    const status = vitest(args, { ...process.env, TINYCTR_TEST_RESULT: file });
    let result;
    try {
      result = JSON.parse(readFileSync(file, 'utf8'));
    } catch {
      result = undefined;
    }
    return { status, result };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Returns the exit status. */
function withSecondTry(args) {
  const { status, result } = counted(args);
  if (result === undefined) return status || 1;
  const { passed, skipped, failures } = result;
  const files = [...new Set(failures.map(({ file }) => file))];
  let [left, code] = [failures, status];
  if (files.length > 0 && files.length <= FEW_FILES && !files.includes(undefined)) {
    console.log(`\nOnce more, alone: ${files.join(' ')}`);
    const options = args.flatMap((arg, i) => (arg === '--project' ? args.slice(i, i + 2) : []));
    const again = counted([...options, ...files]);
    if (again.result !== undefined) {
      left = again.result.failures;
      code = again.status;
      const same = (one) => left.some(({ file, name }) => file === one.file && name === one.name);
      for (const one of failures.filter((each) => !same(each)))
        console.log(`unsteady: ${one.file} > ${one.name}: failed at first, passed alone`);
    }
  }
  const settled = Math.max(0, failures.length - left.length);
  console.log(countsLine({ passed: passed + settled, failed: left.length, skipped }));
  return code;
}

const built = run(['scripts/build.mjs']);
if (built !== 0) process.exit(built);
const args = process.argv.slice(2);
process.exitCode = process.env.TINYCTR_SECOND_TRY === '1' ? withSecondTry(args) : vitest(args);
