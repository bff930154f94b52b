import { describe, expect, test } from 'vitest';
import type { Resources } from '../../../src/core/spec/types.ts';
import { completeUpdate } from '../../../src/lifecycle/update.ts';

describe('an update of one half of a pair', () => {
  const present: Record<string, string> = {
    'cpu.max': '20000 50000\n',
    'memory.max': '1000\n',
    'memory.swap.max': '500\n',
  };
  const complete = (resources: Resources, now = present) => completeUpdate(resources, (file) => now[file]);

  test.each<[Resources, Resources]>([
    [{ cpu: { quota: 1000 } }, { cpu: { quota: 1000, period: 50000 } }],
    [{ cpu: { period: 1000 } }, { cpu: { quota: 20000, period: 1000 } }],
    [{ cpu: { quota: -1 } }, { cpu: { quota: -1, period: 50000 } }],
    [{ cpu: { shares: 5 } }, { cpu: { shares: 5 } }],
    [{ memory: { limit: 1200 } }, { memory: { limit: 1200, swap: 1500 } }],
    [{ memory: { limit: 1500 } }, { memory: { limit: 1500, swap: 1500 } }],
    [{ memory: { limit: 9000, swap: 9000 } }, { memory: { limit: 9000, swap: 9000 } }],
    [{ memory: { limit: -1 } }, { memory: { limit: -1 } }],
    [{ memory: { swap: 1700 } }, { memory: { limit: 1000, swap: 1700 } }],
    [{ memory: { reservation: 5 } }, { memory: { reservation: 5 } }],
    [{ pids: { limit: 5 } }, { pids: { limit: 5 } }],
  ])('%j is %j', (resources, all) => {
    expect(complete(resources)).toEqual(all);
  });

  test('endless swap stays endless, and a kernel without swap has nothing to keep', () => {
    expect(complete({ memory: { limit: 5 } }, { 'memory.max': '1\n', 'memory.swap.max': 'max\n' })).toEqual({
      memory: { limit: 5 },
    });
    expect(complete({ memory: { limit: 5 } }, { 'memory.max': '1\n' })).toEqual({ memory: { limit: 5 } });
    expect(complete({ cpu: { quota: 5 } }, {})).toEqual({ cpu: { quota: 5, period: 0 } });
  });

  test('memory above the present sum of memory and swap is refused', () => {
    expect(() => complete({ memory: { limit: 1501 } })).toThrow(
      expect.objectContaining({ specPointer: '/linux/resources/memory/limit', hint: expect.stringContaining('both') }),
    );
  });
});
