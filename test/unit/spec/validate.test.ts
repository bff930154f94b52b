/** config.json is checked field by field, all faults at once. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { defaultSpec } from '../../../src/oci/default-spec.ts';
import { validateResources, validateSpec } from '../../../src/spec/validate.ts';
import { needs } from '../../support/need.ts';

const clean = { faults: [], unknown: [] };

/** The default configuration with one field set, by its pointer. */
function withField(pointer: string, value: unknown): unknown {
  const spec = structuredClone(defaultSpec) as unknown as Record<string, unknown>;
  const parts = pointer.slice(1).split('/');
  let at = spec;
  for (const part of parts.slice(0, -1)) {
    at[part] ??= {};
    at = at[part] as Record<string, unknown>;
  }
  if (value === undefined) delete at[parts.at(-1)!];
  else at[parts.at(-1)!] = value;
  return spec;
}

test('the configuration that `spec` writes is without fault', () => {
  expect(validateSpec(defaultSpec)).toEqual(clean);
});

test.each([
  ['/ociVersion', '2.0.0'],
  ['/ociVersion', undefined],
  ['/root', undefined],
  ['/root/path', ''],
  ['/process', undefined],
  ['/process/args', []],
  ['/process/args/0', 5],
  ['/process/args/0', 'a\0b'],
  ['/process/env', ['NOVALUE']],
  ['/process/env', ['=x']],
  ['/process/cwd', 'tmp'],
  ['/process/terminal', 'yes'],
  ['/process/user/uid', -1],
  ['/process/user/uid', 2 ** 32 - 1],
  ['/process/user/gid', 1.5],
  ['/process/user/umask', 0o1000],
  ['/process/user/additionalGids', [0, '0']],
  ['/process/oomScoreAdj', -1001],
  ['/process/rlimits', { type: 'RLIMIT_CPU' }],
  ['/process/consoleSize', { width: 80 }],
  ['/mounts', {}],
  ['/mounts/0/destination', undefined],
  ['/mounts/0/options', 'ro'],
  ['/annotations', { key: 1 }],
  ['/linux/namespaces/0/type', 'net'],
  ['/linux/devices', [{ path: 'dev/x', type: 'c' }]],
  ['/linux/devices', [{ path: '/dev/x', type: 'x' }]],
  ['/linux/sysctl', { 'a.b': 1 }],
  ['/linux/maskedPaths', ['proc']],
  ['/linux/rootfsPropagation', 'sharedd'],
  ['/linux/resources/pids/limit', 'many'],
  ['/linux/resources/memory/checkBeforeUpdate', 1],
  ['/linux/resources/cpu/idle', 2],
  ['/linux/resources/cpu/burst', -1],
  ['/linux/resources/cpu/cpus', 'all'],
  ['/linux/resources/cpu/mems', '0\n'],
  ['/linux/resources/blockIO/weight', 9],
  ['/linux/resources/blockIO/weightDevice', [{ major: 8, weight: 10 }]],
  ['/linux/resources/blockIO/throttleReadBpsDevice', [{ major: 8, minor: 0 }]],
  ['/linux/resources/hugepageLimits', [{ pageSize: '../2MB', limit: 1 }]],
  ['/linux/resources/hugepageLimits', [{ pageSize: '2MB' }]],
  ['/linux/resources/rdma', { 'a b': { hcaHandles: 1 } }],
  ['/linux/resources/rdma', { mlx5_0: { hcaHandles: -1 } }],
  ['/linux/resources/unified', { 'memory.high': 1 }],
  ['/linux/uidMappings', [{ containerID: 0, hostID: 1, size: 0 }]],
  ['/linux/gidMappings', [{ containerID: 0, hostID: 2 ** 32 - 1, size: 1 }]],
  ['/linux/uidMappings', [{ containerID: 0, size: 1 }]],
  ['/mounts/0/uidMappings', { containerID: 0 }],
  ['/linux/timeOffsets', { boottime: { nanosecs: 1e9 } }],
  ['/linux/timeOffsets', { monotonic: 5 }],
  ['/linux/seccomp', { syscalls: [] }],
  ['/linux/seccomp', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: [], action: 'x' }] }],
])('%s = %j is a fault of that field', (pointer, value) => {
  const { faults } = validateSpec(withField(pointer, value));
  expect(faults).toHaveLength(1);
  expect(faults[0]!.pointer.startsWith(pointer)).toBe(true);
  expect(faults[0]!.problem).toMatch(/allowed is|must be/);
});

test.each([['/linux/intelRdt', { closID: 'x' }]])(
  '%s is refused, not dropped: it is not there yet',
  (pointer, value) => {
    const { faults } = validateSpec(withField(pointer, value));
    expect(faults).toEqual([{ pointer, problem: expect.stringContaining('not there yet') }]);
  },
);

test.each([
  ['/hooks', { prestart: [], poststop: [] }],
  ['/linux/resources/blockIO', { weight: 0 }],
  ['/linux/resources/memory/disableOOMKiller', false],
  ['/process/apparmorProfile', ''],
  ['/process/scheduler', { policy: '', nice: 0 }],
  ['/process/ioPriority', { class: '', priority: 0 }],
  ['/process/execCPUAffinity', { initial: '', final: '' }],
  ['/linux/personality', { domain: '', flags: [] }],
  ['/linux/uidMappings', []],
  ['/windows', { anything: 1 }],
])('%s = %j asks for nothing', (pointer, value) => {
  expect(validateSpec(withField(pointer, value))).toEqual(clean);
});

test.each([
  ['memory/kernel', 1000],
  ['memory/kernelTCP', 1000],
  ['memory/swappiness', 60],
  ['memory/disableOOMKiller', true],
  ['cpu/realtimeRuntime', 1000],
  ['cpu/realtimePeriod', 1000],
  ['network/classID', 1048577],
  ['network/priorities', [{ name: 'eth0', priority: 500 }]],
  ['blockIO/leafWeight', 10],
])('%s, which cgroup v2 has not, is refused with the reason; the value that is nothing is not', (field, value) => {
  const pointer = `/linux/resources/${field}`;
  expect(validateSpec(withField(pointer, value))).toEqual({
    faults: [{ pointer, problem: expect.stringMatching(/^can't be kept: cgroup v2 has no /) }],
    unknown: [],
  });
  const nothing = typeof value === 'boolean' ? false : Array.isArray(value) ? [] : 0;
  expect(validateSpec(withField(pointer, nothing))).toEqual(clean);
});

test('everything that cgroup v2 has is taken', () => {
  const resources = {
    memory: { limit: 5, reservation: 5, swap: 5, kernel: -1, useHierarchy: true, checkBeforeUpdate: true },
    cpu: { shares: 1, quota: 1, period: 1, burst: 1, idle: 1, cpus: '0-3,5', mems: '0' },
    pids: { limit: 0 },
    blockIO: {
      ...{ weight: 10, weightDevice: [{ major: 8, minor: 0, weight: 500 }] },
      ...{ throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1 }], throttleWriteIOPSDevice: [] },
    },
    hugepageLimits: [{ pageSize: '2MB', limit: 2 ** 64 }],
    rdma: { mlx5_0: { hcaHandles: 1 } },
    unified: { 'memory.high': 'max' },
  };
  expect(validateSpec(withField('/linux/resources', resources))).toEqual(clean);
  expect(validateResources(resources)).toEqual(clean);
  expect(validateResources({ pids: { limit: '5' } }).faults).toEqual([
    { pointer: '/pids/limit', problem: expect.stringContaining('is "5"') },
  ]);
});

test('unknown fields are no faults, at any depth; a slash in a name is escaped', () => {
  const { faults, unknown } = validateSpec(withField('/process/user/uidd', 1));
  expect(faults).toEqual([]);
  expect(unknown).toEqual([{ pointer: '/process/user/uidd', name: 'uidd', known: expect.arrayContaining(['uid']) }]);
  const odd = { ...defaultSpec, 'a/b~c': 1 };
  expect(validateSpec(odd).unknown[0]!.pointer).toBe('/a~1b~0c');
});

test.each([null, 5, 'text', []])('%j is no configuration', (value) => {
  expect(validateSpec(value).faults).toEqual([{ pointer: '', problem: expect.stringContaining('an object') }]);
});

const folder = '../shared/data/configs';
describe('configurations that clients generated', needs({ file: folder }), () => {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.config.json')) : [];
  test('there are 33 of them', () => expect(names).toHaveLength(33)); // also what shows that they were skipped

  test.each(names)('%s has nothing wrong', (name) => {
    const text = readFileSync(`${folder}/${name}`, 'utf8');
    const spec = JSON.parse(text, (_key, value) => (value === null ? undefined : value));
    const { faults, unknown } = validateSpec(spec);
    expect(faults).toEqual([]);
    expect(unknown).toEqual([]);
  });
});
