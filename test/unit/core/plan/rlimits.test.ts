import { describe, expect, test } from 'vitest';
import { planRlimits } from '../../../../src/core/plan/rlimits.ts';
import { needs } from '../../../support/need.ts';
import { checkFacts, compilers } from '../kernel/c-facts.ts';

const names = ['CPU', 'FSIZE', 'DATA', 'STACK', 'CORE', 'RSS', 'NPROC', 'NOFILE', 'MEMLOCK', 'AS', 'LOCKS']
  .concat(['SIGPENDING', 'MSGQUEUE', 'NICE', 'RTPRIO', 'RTTIME'])
  .map((name) => `RLIMIT_${name}`);

for (const compiler of compilers)
  test(`numbers are those of the kernel’s header on ${compiler.arch}`, needs({ command: compiler.command }), () => {
    const planned = planRlimits(names.map((type) => ({ type, soft: 1, hard: 2 })));
    const facts = planned.map(({ name, resource }) => [name, resource] as const);
    expect(checkFacts(compiler, '#include <asm/resource.h>', [...facts, ['RLIM_NLIMITS', names.length]])).toEqual({
      wrong: [],
      unknown: [],
    });
  });

describe('limits', () => {
  test.each([
    [1024, 4096, 1024, 4096],
    [0, 0, 0, 0],
    [-1, -1, -1, -1],
    [5, -1, 5, -1],
    [2 ** 64, 2 ** 64, -1, -1], // what JSON makes of 2^64 - 1
    [2 ** 53, 2 ** 62, 2 ** 53, 2 ** 62],
  ])('soft %d, hard %d', (soft, hard, plannedSoft, plannedHard) => {
    expect(planRlimits([{ type: 'RLIMIT_NOFILE', soft, hard }])).toEqual([
      { name: 'RLIMIT_NOFILE', resource: 7, soft: plannedSoft, hard: plannedHard },
    ]);
  });

  test.each([
    [5, 4, 'RLIMIT_CORE: the soft limit 5 is above the hard limit 4'],
    [-1, 4, 'RLIMIT_CORE: the soft limit unlimited is above the hard limit 4'],
  ])('soft %d above hard %d', (soft, hard, message) => {
    const limits = [
      { type: 'RLIMIT_CPU', soft: 1, hard: 1 },
      { type: 'RLIMIT_CORE', soft, hard },
    ];
    const error = expect.objectContaining({ message, specPointer: '/process/rlimits/1' });
    expect(() => planRlimits(limits)).toThrow(error);
  });

  test.each(['NOFILE', 'rlimit_nofile', 'RLIMIT_FOO', ''])('%j is unknown', (type) => {
    const error = expect.objectContaining({
      message: `unknown resource limit ${type}; known are ${names.join(', ')}`,
      specPointer: '/process/rlimits/0/type',
    });
    expect(() => planRlimits([{ type, soft: 1, hard: 1 }])).toThrow(error);
  });

  test('one that is there twice', () => {
    const limit = { type: 'RLIMIT_CORE', soft: 1, hard: 1 };
    const error = expect.objectContaining({
      message: 'RLIMIT_CORE is there twice',
      specPointer: '/process/rlimits/1/type',
    });
    expect(() => planRlimits([limit, { ...limit, soft: 0 }])).toThrow(error);
  });
});
