/** What `features` announces is what the validation and the planner take, and nothing else. */
import { expect, test } from 'vitest';
import { planMount } from '../../../src/core/plan/mounts.ts';
import { crossFaults } from '../../../src/oci/cross-checks.ts';
import { defaultSpec } from '../../../src/oci/default-spec.ts';
import { features } from '../../../src/oci/features.ts';
import { compileFilter } from '../../../src/seccomp/compile.ts';
import type { Spec } from '../../../src/spec/types.ts';
import { validateSpec } from '../../../src/spec/validate.ts';

const found = features() as {
  ociVersionMin: string;
  ociVersionMax: string;
  hooks: string[];
  mountOptions: string[];
  linux: {
    namespaces: string[];
    seccomp: { enabled: boolean; actions: string[]; operators: string[]; archs: string[]; knownFlags: string[] };
    intelRdt: { enabled: boolean };
    cgroup: Record<string, boolean>;
  };
};

const faultsOf = (change: (spec: Spec) => void): unknown[] => {
  const spec = structuredClone(defaultSpec);
  change(spec);
  const { faults, unknown } = validateSpec(JSON.parse(JSON.stringify(spec)));
  return [...faults, ...unknown, ...crossFaults(spec)];
};

test('both versions are taken', () => {
  for (const ociVersion of [found.ociVersionMin, found.ociVersionMax])
    expect(faultsOf((spec) => Object.assign(spec, { ociVersion }))).toEqual([]);
});

test('every hook is taken', () => {
  expect(found.hooks).toHaveLength(6);
  for (const name of found.hooks)
    expect(faultsOf((spec) => Object.assign(spec, { hooks: { [name]: [{ path: '/x' }] } }))).toEqual([]);
});

test('every mount option is taken, for what it is for', () => {
  for (const option of found.mountOptions) {
    const mount = { destination: '/x', type: 'tmpfs', source: '/x', options: [option] };
    if (/^r?idmap$/.test(option)) continue; // needs mappings
    expect(
      faultsOf((spec) => spec.mounts!.push(mount)),
      option,
    ).toEqual([]);
    const plan = planMount(mount, 0);
    // what is no parameter of the filesystem was understood
    const superblock = ['sync', 'dirsync', 'lazytime', 'mand', 'tmpcopyup'];
    if (plan.kind === 'filesystem' && !superblock.includes(option)) expect(plan.parameters, option).toEqual([]);
  }
});

test('every MUST option of config.md is there but those that are refused by name', () => {
  const must =
    'async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid nosymfollow private rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable';
  const missing = must.split(' ').filter((option) => !found.mountOptions.includes(option));
  for (const option of missing)
    expect(faultsOf((spec) => spec.mounts!.push({ destination: '/x', type: 'tmpfs', options: [option] }))).toEqual([
      { pointer: `/mounts/${defaultSpec.mounts!.length}/options`, problem: `has ${option}, which is not there yet` },
    ]);
  expect(missing).toEqual([]);
});

test('namespaces that are announced are taken, others refused', () => {
  expect(found.linux.namespaces).toEqual(expect.arrayContaining(['cgroup', 'ipc', 'mount', 'network', 'pid', 'uts']));
  expect(found.linux.cgroup).toMatchObject({ v1: false, v2: true, systemd: false });
  expect(found.linux.intelRdt).toEqual({ enabled: false });
});

test('actions, operators, architectures and flags of seccomp compile', () => {
  const { enabled, actions, operators, archs, knownFlags } = found.linux.seccomp;
  expect(enabled).toBe(true);
  expect(archs).toContain('SCMP_ARCH_X86_64');
  const arg = (op: string) => ({ index: 0, value: 1, op });
  compileFilter({ defaultAction: 'SCMP_ACT_ALLOW', flags: knownFlags });
  for (const action of actions)
    compileFilter({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir'], action }] });
  for (const op of operators)
    compileFilter({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_ERRNO', args: [arg(op)] }],
    });
  for (const name of archs.filter((one) => /X86|ARM|AARCH/.test(one)))
    compileFilter({ defaultAction: 'SCMP_ACT_ALLOW', architectures: [name] });
});
