import { describe, expect, it } from 'vitest';
import { cgroupPath } from '../../../src/engine/limits.ts';
import type { RunOptions } from '../../../src/engine/options.ts';
import { device, fakeHost, problemOf, problemsOf, specOf } from './support.ts';

/** linux.resources without the device rules, which devices.test.ts covers. */
const resourcesOf = (options: Partial<RunOptions>) => {
  const { devices: _, ...limits } = specOf(options, { host }).spec.linux!.resources!;
  return limits;
};

const sda = device('/dev/sda', { type: 'b', major: 8, minor: 0, fileMode: 0o60660 });
const host = fakeHost({
  files: {
    '/sys/devices/system/cpu/online': '0-3\n',
    '/sys/devices/system/node/online': '0\n',
    '/sys/dev/block/8:1/partition': '1\n',
  },
  devices: {
    '/dev/sda': [sda],
    '/dev/sda1': [{ ...sda, path: '/dev/sda1', minor: 1 }],
    '/dev/disk/by-path/pci-0:1': [{ ...sda, path: '/dev/disk/by-path/pci-0:1', minor: 16 }],
    '/dev/null': [device('/dev/null', { major: 1, minor: 3 })],
    '/dev/some': [{ ...sda, path: '/dev/some/sda' }],
  },
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

  it.each<[Partial<RunOptions>, object]>([
    [{ memorySwap: '100m' }, { limit: 52_428_800, swap: 104_857_600 }],
    [{ memorySwap: '50m' }, { limit: 52_428_800, swap: 52_428_800 }],
    [{ memorySwap: '-1' }, { limit: 52_428_800, swap: -1 }],
    [{ memorySwap: '0' }, { limit: 52_428_800, swap: 104_857_600 }],
    [{ memoryReservation: '20m' }, { limit: 52_428_800, swap: 104_857_600, reservation: 20_971_520 }],
    [{ memory: '0', memoryReservation: '20m' }, { reservation: 20_971_520 }],
    [{ memory: '0', memorySwap: '-1' }, { swap: -1 }],
  ])('50 MB of memory with %j', (options, memory) => {
    expect(resourcesOf({ memory: '50m', ...options })).toEqual({ memory });
  });

  it.each<[Partial<RunOptions>, object]>([
    [{ cpuQuota: '50000' }, { quota: 50_000 }],
    [
      { cpuQuota: '-1', cpuPeriod: '50000' },
      { quota: -1, period: 50_000 },
    ],
    [{ cpuPeriod: '1000' }, { period: 1000 }],
    [
      { cpusetCpus: '0-2,3', cpusetMems: '0' },
      { cpus: '0-2,3', mems: '0' },
    ],
    [{ cpuQuota: '0', cpuPeriod: '0', cpusetCpus: '' }, undefined as never],
  ])('%j', (options, cpu) => {
    expect(resourcesOf(options)).toEqual(cpu ? { cpu } : {});
  });

  it('names disks by their numbers, the later of two options for one disk counts', () => {
    const disk = { major: 8, minor: 0 };
    expect(
      resourcesOf({
        blkioWeight: '300',
        blkioWeightDevice: ['/dev/sda:200'],
        deviceReadBps: ['/dev/sda:1mb', '/dev/disk/by-path/pci-0:1:2k', '/dev/sda:2mb'],
        deviceWriteBps: ['/dev/sda:512'],
        deviceReadIops: ['/dev/sda:10'],
        deviceWriteIops: ['/dev/sda:20'],
      }),
    ).toEqual({
      blockIO: {
        weight: 300,
        weightDevice: [{ ...disk, weight: 200 }],
        throttleReadBpsDevice: [
          { ...disk, rate: 2_097_152 },
          { major: 8, minor: 16, rate: 2048 },
        ],
        throttleWriteBpsDevice: [{ ...disk, rate: 512 }],
        throttleReadIOPSDevice: [{ ...disk, rate: 10 }],
        throttleWriteIOPSDevice: [{ ...disk, rate: 20 }],
      },
    });
    expect(resourcesOf({ blkioWeight: '0' })).toEqual({});
  });

  it.each<[Partial<RunOptions>, string]>([
    [{ memorySwap: '100m' }, 'it needs --memory'],
    [{ memory: '100m', memorySwap: '50m' }, "can't be less than --memory"],
    [{ memory: '10m', memoryReservation: '20m' }, "'20m' is more than --memory '10m'"],
    [{ memoryReservation: '1m' }, 'at least 6m'],
    [{ cpus: '1', cpuQuota: '50000' }, '--cpus and --cpu-quota exclude each other'],
    [{ cpus: '1', cpuPeriod: '50000' }, '--cpus and --cpu-period exclude each other'],
    [{ cpuPeriod: '999' }, 'from 1000 to 1000000'],
    [{ cpuQuota: '999' }, 'from 1000 to'],
    [{ cpusetCpus: '4' }, "the host's processors are 0-3, 4 is not there"],
    [{ cpusetCpus: '2-1' }, 'is not a list'],
    [{ cpusetCpus: '0,' }, 'is not a list'],
    [{ cpusetMems: '0-1' }, "the host's memory nodes are 0, 1 is not there"],
    [{ blkioWeight: '5' }, 'from 10 to 1000'],
    [{ blkioWeightDevice: ['/dev/sda'] }, 'is not /dev/name:value'],
    [{ deviceReadBps: ['/dev/nothing:1mb'] }, '/dev/nothing is no block device'],
    [{ deviceReadBps: ['/dev/null:1mb'] }, '/dev/null is no block device'],
    [{ deviceReadBps: ['/dev/some:1mb'] }, '/dev/some is no block device'],
    [{ deviceReadBps: ['/dev/sda1:1mb'] }, 'is a partition'],
    [{ deviceReadBps: ['/dev/sda:0'] }, 'a rate of 0 would stop the disk'],
    [{ deviceReadIops: ['/dev/sda:1k'] }, 'is not a whole number'],
    [{ cgroupParent: '/../x' }, 'is not a path below the root of the cgroup hierarchy'],
    [{ cgroupParent: '/' }, 'is not a path below the root'],
    [{ cgroupns: 'other' }, 'private or host is allowed'],
  ])('refuses %j', (options, text) => {
    expect(problemOf(() => resourcesOf(options))).toContain(text);
  });
});

it('the cgroup is below /tinyctr, or below --cgroup-parent with or without its slash', () => {
  expect(cgroupPath(undefined, 'x')).toBe('/tinyctr/x');
  expect(cgroupPath('/lesson/one/', 'x')).toBe('/lesson/one/x');
  expect(cgroupPath('lesson', 'x')).toBe('/lesson/x');
});

it('--cgroupns host leaves the namespace away', () => {
  const types = (options: Partial<RunOptions>) => specOf(options).spec.linux!.namespaces!.map(({ type }) => type);
  expect(types({ cgroupns: 'host' })).not.toContain('cgroup');
  expect(types({ cgroupns: 'private' })).toEqual(types({}));
});
