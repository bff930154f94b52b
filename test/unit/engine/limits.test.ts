import { describe, expect, it } from 'vitest';
import { parseUlimit } from '../../../src/engine/limits.ts';
import type { RunOptions } from '../../../src/engine/options.ts';
import { problemOf, problemsOf, specOf } from './support.ts';

/** linux.resources without the device rules, which devices.test.ts covers. */
const resourcesOf = (options: Partial<RunOptions>) => {
  const { devices: _, ...limits } = specOf(options).spec.linux!.resources!;
  return limits;
};

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

describe('resources', () => {
  it('are absent when nothing limits anything', () => {
    expect(resourcesOf({})).toEqual({});
    expect(resourcesOf({ memory: '0', cpus: '0', cpuShares: '0', pidsLimit: '-1' })).toEqual({});
    expect(resourcesOf({ pidsLimit: '0' })).toEqual({});
  });

  it('are what was asked for, swap as large as memory', () => {
    expect(resourcesOf({ memory: '512m', cpus: '1.5', cpuShares: '512', pidsLimit: '100' })).toEqual({
      memory: { limit: 536_870_912, swap: 1_073_741_824 },
      cpu: { quota: 150_000, period: 100_000, shares: 512 },
      pids: { limit: 100 },
    });
    expect(resourcesOf({ memory: '6m' }).memory?.limit).toBe(6_291_456);
  });

  it.each([
    ['0.01', 1000],
    ['0.29', 29_000],
    ['.5', 50_000],
    ['4', 400_000],
    ['1.123456789', 112_345],
    ['2.', 200_000],
  ])('--cpus %s is %d µs of 100 ms', (cpus, quota) => {
    expect(resourcesOf({ cpus })).toEqual({ cpu: { quota, period: 100_000 } });
  });

  it.each(['4096', '6291455', '5.9m'])('--memory %s is too little, and the error says the least', (memory) => {
    expect(problemOf(() => resourcesOf({ memory }))).toContain('at least 6m is needed');
  });

  it.each([
    ['cpus', '0.001', '0.01 to 4'],
    ['cpus', '4.1', 'the host has 4 processors'],
    ['cpus', '-1', 'not a decimal number'],
    ['cpus', '1e1', 'not a decimal number'],
    ['cpus', '1.0000000001', 'nine digits'],
    ['cpus', '', 'not a decimal number'],
    ['cpuShares', '1', 'from 2 to 262144'],
    ['cpuShares', '262145', 'from 2 to 262144'],
    ['pidsLimit', '-2', 'from 1 to'],
    ['pidsLimit', 'many', 'from 1 to'],
    ['memory', '-1', 'not a size'],
  ] as const)('refuses %s %s', (option, value, text) => {
    expect(problemOf(() => resourcesOf({ [option]: value }))).toContain(text);
  });

  it('reports several at once', () => {
    expect(problemsOf(() => resourcesOf({ memory: '1', cpus: 'x', cpuShares: '1', pidsLimit: 'x' }))).toHaveLength(4);
  });
});
