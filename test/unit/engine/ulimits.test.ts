import { describe, expect, it } from 'vitest';
import { parseUlimit } from '../../../src/engine/ulimits.ts';
import { problemOf, specOf } from './support.ts';

describe('parseUlimit', () => {
  it.each([
    ['nofile=1024', 'RLIMIT_NOFILE', 1024, 1024],
    ['nofile=100:200', 'RLIMIT_NOFILE', 100, 200],
    ['core=0', 'RLIMIT_CORE', 0, 0],
    ['memlock=-1:-1', 'RLIMIT_MEMLOCK', -1, -1],
    ['stack=10:-1', 'RLIMIT_STACK', 10, -1],
    ['nproc=unlimited', 'RLIMIT_NPROC', -1, -1],
  ])('reads %s', (text, type, soft, hard) => {
    expect(parseUlimit(text)).toEqual({ type, soft, hard });
  });

  it('refuses a soft limit above the hard one, by name', () => {
    const text = 'the soft limit 200 of nofile is above its hard limit 100';
    expect(problemOf(() => parseUlimit('nofile=200:100'))).toContain(text);
    expect(problemOf(() => parseUlimit('nofile=-1:100'))).toContain('soft limit -1 of nofile');
  });

  it.each(['nofile', 'nofile=', 'nofile=1:', 'nofile=:1', 'nofile=-2', 'nofile=1.5', 'nofile=1k', 'nofile=1:2:3'])(
    'refuses %s',
    (text) => {
      expect(problemOf(() => parseUlimit(text))).toContain(`--ulimit ${text}`);
    },
  );

  it('lists the names', () => {
    expect(problemOf(() => parseUlimit('nofiles=1'))).toMatch(/none of core, cpu, .*did you mean nofile/);
    expect(problemOf(() => parseUlimit('as=1'))).toContain('none of core');
  });

  it('lets the later of two win', () => {
    expect(specOf({ ulimit: ['core=0', 'nofile=5', 'core=1'] }).spec.process?.rlimits).toEqual([
      { type: 'RLIMIT_CORE', soft: 1, hard: 1 },
      { type: 'RLIMIT_NOFILE', soft: 5, hard: 5 },
    ]);
    expect(specOf().spec.process).not.toHaveProperty('rlimits');
  });
});
