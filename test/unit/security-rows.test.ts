/** docs/security.md: each test that it names is in the file that it names. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const rows = [
  ...readFileSync('docs/security.md', 'utf8').matchAll(/^\|[^|]*\|[^|]*\| `([^`]+)` *\| (test\/\S+) *\|$/gm),
];

test('the list is whole', () => {
  const named = readFileSync('docs/security.md', 'utf8').match(/^\| SEC-\d\d/gm)!;
  expect(named.length).toBeGreaterThanOrEqual(18);
  expect(rows.length).toBeGreaterThan(named.length);
});

test.each(rows.map(([, title, file]) => [file!, title!]))('%s has %s', (file, title) => {
  expect(readFileSync(file, 'utf8')).toContain(title);
});
