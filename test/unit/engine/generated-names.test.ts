import { expect, test } from 'vitest';
import { generatedNames } from '../../../src/engine/generated-names.ts';
import { checkName } from '../../../src/engine/identity.ts';

const id = (seed: number) =>
  Array.from({ length: 64 }, (_, i) => (((seed + 1) * 2654435761 * (i + 7)) >>> 9).toString(16).at(-1)).join('');
const firstOf = (seed: number, count: number) => {
  const names = generatedNames(id(seed));
  return Array.from({ length: count }, () => names.next().value!);
};

test('two words that are a name, the same for the same id', () => {
  for (let seed = 0; seed < 200; seed++) {
    const [name] = firstOf(seed, 1);
    expect(name).toMatch(/^[a-z]+_[a-z]+$/);
    expect(checkName(name!)).toBe(name);
    expect(firstOf(seed, 1)).toEqual([name]);
  }
  expect(new Set(Array.from({ length: 200 }, (_, seed) => firstOf(seed, 1)[0])).size).toBeGreaterThan(150);
});

test('there is always one more', () => {
  const names = firstOf(1, 40);
  expect(new Set(names.slice(8)).size).toBe(32);
  expect(names[8]).toMatch(/^[a-z]+_[a-z]+1$/);
});
