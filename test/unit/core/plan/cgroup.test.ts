import { describe, expect, test } from 'vitest';
import {
  blkioToIoWeight,
  cpuSharesToWeight,
  planCgroup,
  planLimits,
  swapMax,
} from '../../../../src/core/plan/cgroup.ts';
import type { Resources } from '../../../../src/core/spec/types.ts';

const filesOf = (resources: Resources) => {
  const { path, files } = planCgroup('/tinyctr/c', resources);
  expect(path).toBe('/tinyctr/c');
  return Object.fromEntries(files.map(({ file, value }) => [file, value]));
};
const refuses = (resources: Resources, message: string, specPointer: string) =>
  expect(() => planCgroup('/c', resources)).toThrow(expect.objectContaining({ message, specPointer }));

const GiB = 1024 ** 3;

describe('files', () => {
  test.each<[string, Resources, Record<string, string>]>([
    ['nothing', {}, {}],
    ['empty objects', { memory: {}, cpu: {}, pids: {}, blockIO: {}, hugepageLimits: [], rdma: {}, unified: {} }, {}],
    [
      'zeros, which mean unset',
      {
        memory: { limit: 0, swap: 0, reservation: 0 },
        cpu: { shares: 0, quota: 0, period: 0, cpus: '', mems: '' },
        blockIO: { weight: 0, weightDevice: [{ major: 8, minor: 0, weight: 0 }] },
      },
      {},
    ],
    ['memory', { memory: { limit: 1 << 20 } }, { 'memory.max': '1048576' }],
    ['memory beyond what the kernel parses', { memory: { limit: 2 ** 63 } }, { 'memory.max': 'max' }],
    ['a large number in full', { memory: { limit: 2 ** 53 } }, { 'memory.max': '9007199254740992' }],
    [
      'memory without limit, and with it swap',
      { memory: { limit: -1 } },
      { 'memory.max': 'max', 'memory.swap.max': 'max' },
    ],
    ['a reservation', { memory: { reservation: GiB } }, { 'memory.low': '1073741824' }],
    ['all of it reserved', { memory: { reservation: -1 } }, { 'memory.low': 'max' }],
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
    ['quota and burst', { cpu: { quota: 5000, burst: 5000 } }, { 'cpu.max': '5000 100000', 'cpu.max.burst': '5000' }],
    ['a burst alone', { cpu: { burst: 5000 } }, { 'cpu.max.burst': '5000' }],
    ['shares', { cpu: { shares: 1024 } }, { 'cpu.weight': '100' }],
    ['idle', { cpu: { idle: 1 } }, { 'cpu.idle': '1' }],
    ['processors and nodes', { cpu: { cpus: '0-1,3', mems: '0' } }, { 'cpuset.cpus': '0-1,3', 'cpuset.mems': '0' }],
    ['processes', { pids: { limit: 64 } }, { 'pids.max': '64' }],
    ['no more processes than the first', { pids: { limit: 0 } }, { 'pids.max': '1' }],
    ['endless processes', { pids: { limit: -1 } }, { 'pids.max': 'max' }],
    ['a weight of block devices', { blockIO: { weight: 500 } }, { 'io.bfq.weight': '500' }],
    [
      'a weight of one block device',
      { blockIO: { weightDevice: [{ major: 8, minor: 16, weight: 10 }] } },
      { 'io.bfq.weight': '8:16 10' },
    ],
    [
      'limits of block devices, a line each',
      {
        blockIO: {
          throttleReadBpsDevice: [
            { major: 8, minor: 0, rate: 600 },
            { major: 7, minor: 1, rate: 1 },
          ],
          throttleWriteBpsDevice: [{ major: 8, minor: 0, rate: 500 }],
          throttleReadIOPSDevice: [{ major: 8, minor: 0, rate: 2 ** 64 }],
          throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 0 }],
        },
      },
      { 'io.max': '8:0 rbps=600 wbps=500 riops=max wiops=max\n7:1 rbps=1' },
    ],
    [
      'huge pages, by use and by reservation',
      {
        hugepageLimits: [
          { pageSize: '2MB', limit: 4 << 20 },
          { pageSize: '1GB', limit: 0 },
        ],
      },
      {
        'hugetlb.2MB.max': '4194304',
        'hugetlb.2MB.rsvd.max': '4194304',
        'hugetlb.1GB.max': '0',
        'hugetlb.1GB.rsvd.max': '0',
      },
    ],
    [
      'RDMA devices, a line each',
      { rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 10000 }, rxe3: { hcaObjects: 0 } } },
      { 'rdma.max': 'mlx5_1 hca_handle=3 hca_object=10000\nrxe3 hca_object=0' },
    ],
    [
      'files by name, after all others',
      { unified: { 'memory.high': '5', 'memory.max': '7' }, memory: { limit: 6 } },
      { 'memory.high': '5', 'memory.max': '7' },
    ],
  ])('%s', (_, resources, files) => {
    expect(filesOf(resources)).toEqual(files);
  });

  test('each names its controller and the option that wanted it', () => {
    const { files } = planCgroup('/c', {
      ...{ memory: { limit: 1, swap: 2, reservation: 1 }, cpu: { quota: 1, cpus: '0' }, pids: { limit: 1 } },
      ...{ hugepageLimits: [{ pageSize: '2MB', limit: 1 }], blockIO: { weight: 10 } },
    });
    expect(files.map((file) => [file.controller, file.option, file.ifPresent ?? false])).toEqual([
      ['cpu', 'CPU limit', false],
      ['cpuset', 'list of CPUs', false],
      ['pids', 'limit of processes', false],
      ['io', 'weight of block devices', false],
      ['hugetlb', 'limit of 2MB pages', false],
      ['hugetlb', 'limit of 2MB pages', true],
      ['memory', 'swap limit', true],
      ['memory', 'memory reservation', false],
      ['memory', 'memory limit', false],
    ]);
  });

  test('what a new cgroup has anyway needs no controller', () => {
    const files = planLimits({
      ...{ memory: { limit: -1, swap: -1 }, cpu: { quota: -1, idle: 0, burst: 0 }, pids: { limit: -1 } },
    });
    expect(files.map(({ file }) => file).sort()).toEqual(
      ['cpu.idle', 'cpu.max', 'cpu.max.burst', 'memory.max', 'memory.swap.max', 'pids.max'].sort(),
    );
    expect(files.every(({ ifPresent }) => ifPresent)).toBe(true);
  });

  test('io.weight stands in for io.bfq.weight', () => {
    const blockIO = { weight: 1000, weightDevice: [{ major: 8, minor: 0, weight: 10 }] };
    expect(planLimits({ blockIO }).map(({ otherwise }) => otherwise)).toEqual([
      { file: 'io.weight', value: '10000' },
      { file: 'io.weight', value: '8:0 1' },
    ]);
  });

  test('checkBeforeUpdate compares the limit with the use', () => {
    const [file] = planLimits({ memory: { limit: 5, checkBeforeUpdate: true } });
    expect(file).toMatchObject({ file: 'memory.max', above: 'memory.current' });
    expect(planLimits({ memory: { limit: 5 } })[0]).not.toHaveProperty('above');
  });
});

describe('the order of writes', () => {
  const order = (resources: Resources) => planLimits(resources).map(({ file, value }) => `${file}=${value}`);

  test('an idle cgroup takes no weight: it becomes idle after, and is no longer idle before', () => {
    expect(order({ cpu: { shares: 1024, idle: 1 } })).toEqual(['cpu.weight=100', 'cpu.idle=1']);
    expect(order({ cpu: { shares: 1024, idle: 0 } })).toEqual(['cpu.idle=0', 'cpu.weight=100']);
  });

  test('burst is at no moment above the quota', () => {
    expect(order({ cpu: { quota: 5, burst: 4 } })).toEqual(['cpu.max.burst=0', 'cpu.max=5 100000', 'cpu.max.burst=4']);
  });

  test('swap comes before the memory that may go there', () => {
    expect(order({ memory: { limit: 1, swap: 3 } })).toEqual(['memory.swap.max=2', 'memory.max=1']);
  });
});

test.each<[number | undefined, number | undefined, string | undefined]>([
  [undefined, undefined, undefined],
  [5, undefined, undefined],
  [5, 0, undefined],
  [-1, undefined, 'max'],
  [-1, -1, 'max'],
  [5, -1, 'max'],
  [5, 5, '0'],
  [5, 8, '3'],
])('memory %s with swap %s is the swap limit %s', (limit, swap, value) => {
  expect(swapMax(limit, swap)).toBe(value);
});

test.each([
  [10, 1],
  [11, 11],
  [100, 910],
  [500, 4950],
  [1000, 10000],
])("blkio's weight %d is io.weight %d", (weight, value) => {
  expect(blkioToIoWeight(weight)).toBe(value);
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
    [
      { cpu: { quota: 5, burst: 6 } },
      'cpu.burst is 6; it must not be larger than cpu.quota, 5',
      '/linux/resources/cpu/burst',
    ],
    ...['../memory.max', 'a/b.c', 'memory', '..', '.', '', 'memory.max/', 'cgroup.kill', 'cgroup.procs', 'a\n.b'].map(
      (file): [Resources, string, string] => [
        { unified: { [file]: '1' } },
        `the specified key has not the form CONTROLLER.VALUE \`${file}\`: allowed are files of a controller, such as memory.high`,
        `/linux/resources/unified/${file.replaceAll('/', '~1')}`,
      ],
    ),
  ])('%j', (resources, message, specPointer) => {
    refuses(resources, message, specPointer);
  });
});

test('device rules become a program, unless everything is allowed', () => {
  const program = (resources: Resources) => planCgroup('/c', resources).devices?.program;
  expect(program({ devices: [{ allow: false, access: 'rwm' }] })?.length).toBeGreaterThan(8 * 20);
  expect(program({ devices: [{ allow: true, access: 'rwm' }] })).toBeUndefined();
});
