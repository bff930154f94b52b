import { describe, expect, test } from 'vitest';
import { cpuSharesToWeight, planCgroup } from '../../../../src/core/plan/cgroup.ts';
import type { Resources } from '../../../../src/core/spec/types.ts';

const filesOf = (resources: Resources) => {
  const { path, files } = planCgroup('/tinyctr/c', resources);
  expect(path).toBe('/tinyctr/c');
  return Object.fromEntries(files.map(({ file, value }) => [file, value]));
};
const refuses = (resources: Resources, message: string, specPointer: string) =>
  expect(() => planCgroup('/c', resources)).toThrow(expect.objectContaining({ message, specPointer }));

describe('files', () => {
  test.each<[string, Resources, Record<string, string>]>([
    ['nothing', {}, {}],
    ['zeros, which mean unset', { memory: { limit: 0, swap: 0 }, cpu: { shares: 0, quota: 0, period: 0 } }, {}],
    ['memory', { memory: { limit: 1 << 20 } }, { 'memory.max': '1048576' }],
    ['memory without limit', { memory: { limit: -1 } }, { 'memory.max': 'max' }],
    [
      'swap, of memory and swap together',
      { memory: { limit: 1000, swap: 3000 } },
      { 'memory.max': '1000', 'memory.swap.max': '2000' },
    ],
    ['no swap', { memory: { limit: 1000, swap: 1000 } }, { 'memory.max': '1000', 'memory.swap.max': '0' }],
    ['endless swap', { memory: { limit: 1000, swap: -1 } }, { 'memory.max': '1000', 'memory.swap.max': 'max' }],
    ['endless swap alone', { memory: { swap: -1 } }, { 'memory.swap.max': 'max' }],
    ['a quota', { cpu: { quota: 50000 } }, { 'cpu.max': '50000 100000' }],
    ['quota and period', { cpu: { quota: 1000, period: 5000 } }, { 'cpu.max': '1000 5000' }],
    ['a period alone', { cpu: { period: 5000 } }, { 'cpu.max': 'max 5000' }],
    ['no quota', { cpu: { quota: -1 } }, { 'cpu.max': 'max 100000' }],
    ['shares', { cpu: { shares: 1024 } }, { 'cpu.weight': '100' }],
    ['processes', { pids: { limit: 64 } }, { 'pids.max': '64' }],
    ['endless processes', { pids: { limit: -1 } }, { 'pids.max': 'max' }],
  ])('%s', (_, resources, files) => {
    expect(filesOf(resources)).toEqual(files);
  });

  test('each names its controller and the option that wanted it', () => {
    const { files } = planCgroup('/c', { memory: { limit: 1, swap: 2 }, cpu: { quota: 1 }, pids: { limit: 1 } });
    expect(files.map((file) => [file.controller, file.option, file.ifPresent ?? false])).toEqual([
      ['memory', 'memory limit', false],
      ['memory', 'swap limit', true],
      ['cpu', 'CPU limit', false],
      ['pids', 'limit of processes', false],
    ]);
  });
});

/** The kernel's ends and its default, and points between: what runc 1.3 writes. */
test.each([
  [0, 1],
  [1, 1],
  [2, 1],
  [3, 2],
  [512, 59],
  [1024, 100],
  [2048, 174],
  [102400, 4429],
  [262143, 10000],
  [262144, 10000],
  [1 << 30, 10000],
])('%d shares are the weight %d', (shares, weight) => {
  expect(cpuSharesToWeight(shares)).toBe(weight);
});

test('more shares never weigh less', () => {
  for (let shares = 2, before = 1; shares <= 262144; shares = Math.ceil(shares * 1.1)) {
    expect(cpuSharesToWeight(shares)).toBeGreaterThanOrEqual(before);
    before = cpuSharesToWeight(shares);
  }
});

describe('refused', () => {
  const wants = (swap: number) =>
    `memory.swap is ${swap}, for memory and swap together: it wants a memory.limit that is not larger`;
  test.each<[Resources, string, string]>([
    [{ memory: { swap: 5 } }, wants(5), '/linux/resources/memory/swap'],
    [{ memory: { limit: 6, swap: 5 } }, wants(5), '/linux/resources/memory/swap'],
    [{ memory: { limit: -1, swap: 5 } }, wants(5), '/linux/resources/memory/swap'],
    [{ memory: { reservation: 5 } }, 'memory.reservation is not there yet', '/linux/resources/memory/reservation'],
    [{ cpu: { cpus: '0' } }, 'cpu.cpus is not there yet', '/linux/resources/cpu/cpus'],
    [{ cpu: { mems: '0' } }, 'cpu.mems is not there yet', '/linux/resources/cpu/mems'],
    [{ unified: { 'memory.high': '1' } }, 'unified is not there yet', '/linux/resources/unified'],
  ])('%j', (resources, message, specPointer) => {
    refuses(resources, message, specPointer);
  });
});

test('device rules become a program, unless everything is allowed', () => {
  const words = (resources: Resources) => planCgroup('/c', resources).devices?.words;
  expect(words({ devices: [{ allow: false, access: 'rwm' }] })?.length).toBeGreaterThan(5);
  expect(words({ devices: [{ allow: true, access: 'rwm' }] })).toBeUndefined();
});
