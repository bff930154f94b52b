// npm run check: the one gate. Types, lint and format, unused code, import direction, size of src/core, unit tests.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
const CORE_LIMIT = 4000;

const steps = [
  ['types', 'tsc', '-p', '.'],
  ['lint and format', 'biome', 'ci', '--error-on-warnings', '.'],
  ['unused code', 'knip'],
  ['import direction', 'depcruise', 'src', '--config', '.dependency-cruiser.cjs', '--output-type', 'err'],
  ['unit tests', 'vitest', 'run', '--project', 'unit'],
];

/** Lines that are neither blank nor only comment. */
function codeLines(text) {
  let comment = false;
  return text.split('\n').filter((line) => {
    const bare = line.trim();
    if (comment) {
      comment = !bare.includes('*/');
      return false;
    }
    if (bare.startsWith('/*')) {
      comment = !bare.includes('*/');
      return false;
    }
    return bare !== '' && !bare.startsWith('//');
  }).length;
}

const files = readdirSync('src/core', { recursive: true }).filter((name) => name.endsWith('.ts'));
const lines = files.reduce((sum, name) => sum + codeLines(readFileSync(join('src/core', name), 'utf8')), 0);
const failed = [];
for (const [name, command, ...args] of steps) {
  const { status } = spawnSync(`node_modules/.bin/${command}`, args, { stdio: 'inherit' });
  console.log(`check: ${name}: ${status === 0 ? 'ok' : 'FAILED'}`);
  if (status !== 0) failed.push(name);
}
console.log(`check: src/core has ${lines} lines of code in ${files.length} files, at most ${CORE_LIMIT} are allowed`);
if (lines > CORE_LIMIT) failed.push('size of src/core');
if (failed.length > 0) console.error(`check: failed: ${failed.join(', ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
