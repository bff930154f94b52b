import { describe, expect, test } from 'vitest';
import { crossFaults } from '../../../src/oci/cross-checks.ts';
import { defaultSpec } from '../../../src/oci/default-spec.ts';
import type { Spec } from '../../../src/spec/types.ts';

const line = (containerID: number, hostID: number, size: number) => ({ containerID, hostID, size });
const good = [line(0, 100000, 65536)];

function faults(change: (spec: Spec & { linux: NonNullable<Spec['linux']> }) => void): string[] {
  const spec = structuredClone(defaultSpec) as Spec & { linux: NonNullable<Spec['linux']> };
  spec.linux.namespaces!.push({ type: 'user' });
  Object.assign(spec.linux, { uidMappings: good, gidMappings: good });
  change(spec);
  return crossFaults(spec).map(({ pointer, problem }) => `${pointer} ${problem}`);
}

test('a user namespace with maps is right', () => {
  expect(faults(() => {})).toEqual([]);
});

describe('maps', () => {
  test('a new user namespace needs both', () => {
    expect(
      faults(({ linux }) => {
        delete linux.uidMappings;
        linux.gidMappings = [];
      }),
    ).toEqual([
      '/linux/uidMappings is missing: a new user namespace needs it',
      '/linux/gidMappings is missing: a new user namespace needs it',
    ]);
  });

  test('one that is joined needs none, and takes some', () => {
    const join = ({ linux }: Spec) => Object.assign(linux!.namespaces!.at(-1)!, { path: '/proc/1/ns/user' });
    expect(faults(join)).toEqual([]);
    expect(
      faults((spec) => {
        join(spec);
        delete spec.linux.uidMappings;
        delete spec.linux.gidMappings;
      }),
    ).toEqual([]);
  });

  test('without a user namespace they mean nothing', () => {
    expect(faults(({ linux }) => linux.namespaces!.pop())).toEqual([
      '/linux/uidMappings needs a user namespace: there is none',
      '/linux/gidMappings needs a user namespace: there is none',
    ]);
  });

  test.each([
    ['inside', [line(0, 1000, 10), line(9, 5000, 5)], '/linux/uidMappings/1 overlaps with line 0 (containerID)'],
    ['outside', [line(0, 1000, 10), line(50, 1005, 1)], '/linux/uidMappings/1 overlaps with line 0 (hostID)'],
    ['beyond', [line(0, 4294967290, 10)], '/linux/uidMappings/0 goes beyond 4294967294, the last id there is (hostID)'],
    ['rootless', [line(1, 1000, 10)], '/linux/uidMappings leaves out 0: the container is built by its own root'],
    [
      'long',
      Array.from({ length: 341 }, (_, i) => line(i, 1000 + i, 1)),
      '/linux/uidMappings has 341 lines; the kernel takes 340',
    ],
  ])('%s', (_, uidMappings, fault) => {
    expect(faults(({ linux }) => Object.assign(linux, { uidMappings }))).toEqual([fault]);
  });

  test('neighbours don’t overlap', () => {
    const uidMappings = [line(0, 100, 10), line(10, 50, 50)];
    expect(faults(({ linux }) => Object.assign(linux, { uidMappings }))).toEqual([]);
  });
});

test('every id that is spoken of has to be mapped', () => {
  const found = faults((spec) => {
    spec.process!.user = { uid: 65536, gid: 70000, additionalGids: [5, 80000] };
    spec.linux.devices = [{ path: '/dev/x', type: 'c', major: 1, minor: 3, uid: 90000 }];
  });
  expect(found).toEqual([
    '/process/user/uid is 65536, which /linux/uidMappings leaves out',
    '/linux/devices/0/uid is 90000, which /linux/uidMappings leaves out',
    '/process/user/gid is 70000, which /linux/gidMappings leaves out',
    '/process/user/additionalGids/1 is 80000, which /linux/gidMappings leaves out',
  ]);
});

describe('idmapped mounts', () => {
  const bind = { destination: '/d', type: 'bind', source: '/s', options: ['rbind'] };

  test('both maps or none', () => {
    expect(faults(({ mounts }) => mounts!.push({ ...bind, uidMappings: good }))).toEqual([
      '/mounts/7 has uidMappings without gidMappings',
    ]);
  });

  test('only bind mounts', () => {
    const [fault] = faults(({ mounts }) => mounts!.push({ destination: '/t', type: 'tmpfs', options: ['idmap'] }));
    expect(fault).toMatch(/^\/mounts\/7 .*can't be idmapped: that is for bind mounts, and this is of type tmpfs/);
  });

  test('idmap without maps of its own takes the container’s, which has to have some', () => {
    const mount = { ...bind, options: ['rbind', 'ridmap'] };
    expect(faults(({ mounts }) => mounts!.push(mount))).toEqual([]);
    const [fault] = faults(({ mounts, linux }) => {
      mounts!.push(mount);
      linux.namespaces!.pop();
      delete linux.uidMappings;
      delete linux.gidMappings;
    });
    expect(fault).toMatch(/^\/mounts\/7 has ridmap, but neither uidMappings and gidMappings nor/);
  });
});

test('time offsets need a time namespace that is new', () => {
  const timeOffsets = { boottime: { secs: 1 } };
  expect(faults(({ linux }) => Object.assign(linux, { timeOffsets }))).toEqual([
    '/linux/timeOffsets needs a new time namespace: there is none',
  ]);
  expect(
    faults(({ linux }) => {
      linux.timeOffsets = timeOffsets;
      linux.namespaces!.push({ type: 'time' });
    }),
  ).toEqual([]);
});
