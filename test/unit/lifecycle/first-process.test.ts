import { expect, test } from 'vitest';
import { ageMs } from '../../../src/lifecycle/first-process.ts';

test('the age of a process', () => {
  expect(ageMs(process.pid)).toBeGreaterThan(0);
  expect(Math.abs(ageMs(process.pid) - 1000 * process.uptime())).toBeLessThan(60_000);
  expect(ageMs(2 ** 22 + 1)).toBe(0);
  expect(ageMs(0)).toBe(0); // none that is known
});
