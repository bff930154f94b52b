/** What holds the repository together: the reading order names every file of src/core, the build makes what the launchers start. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const text = readFileSync('docs/reading-order.md', 'utf8');
const files = readdirSync('src/core', { recursive: true })
  .map((name) => `src/core/${String(name)}`)
  .filter((name) => name.endsWith('.ts'));

test('docs/reading-order.md leads through every file of src/core', () => {
  expect(files.filter((file) => !text.includes(`(../${file})`))).toEqual([]);
});

test('docs/reading-order.md links to nothing that is not there', () => {
  const linked = [...text.matchAll(/\]\(\.\.\/([^)#]+)\)/g)].map((match) => match[1]!);
  expect(linked.length).toBeGreaterThan(files.length);
  expect(linked.filter((file) => !existsSync(file))).toEqual([]);
});
