/** docs/differences.md and the cases that runc does not pass name the same keys. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const folder = 'test/integration';
const cases = readdirSync(folder)
  .filter((name) => /^oci-.*\.test\.ts$/.test(name))
  .map((name) => readFileSync(`${folder}/${name}`, 'utf8'))
  .join('\n');
const named = [
  ...[...cases.matchAll(/\bdiffers\(\s*\w+,\s*'([^']+)'/g)].map((match) => match[1]!),
  ...[...cases.matchAll(/\bours\(\s*\w+,\s*'[^']*\(([a-z-]+)\)'/g)].map((match) => match[1]!),
];
const listed = [...readFileSync('docs/differences.md', 'utf8').matchAll(/^- `([^`]+)`: /gm)].map((match) => match[1]!);

test('every key that a case names stands in docs/differences.md, and every key there is named by a case', () => {
  expect(named.length).toBeGreaterThan(20);
  expect([...new Set(listed)].sort()).toEqual([...new Set(named)].sort());
});

test('no key stands there twice', () => {
  expect(listed.length).toBe(new Set(listed).size);
});
