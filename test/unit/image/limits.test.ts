import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { limits } from '../../../src/image/limits.ts';

test('docs/images.md has every limit, and no other', () => {
  const text = readFileSync(new URL('../../../docs/images.md', import.meta.url), 'utf8');
  const table = text
    .slice(text.indexOf('## Limits'))
    .split('\n')
    .filter((line) => /^\| [a-z]/.test(line));
  const numbers = table.flatMap((line) => line.match(/\d+/g) ?? []).map(Number);
  expect(numbers.sort((a, b) => a - b)).toEqual(Object.values(limits).sort((a, b) => a - b));
});
