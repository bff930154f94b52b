import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { effects } from '../../../src/engine/leftovers.ts';

it('docs/cleanup.md has the table of effects', () => {
  const rows = readFileSync('docs/cleanup.md', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  expect(rows.slice(2)).toEqual(
    Object.entries(effects).map(([kind, { is, dead, inverse }]) => [kind, is, dead, inverse]),
  );
});
