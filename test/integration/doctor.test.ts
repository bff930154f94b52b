/** `tinyctr doctor` on this host, as root and as nobody. Other hosts: test/unit/workshop/doctor.test.ts and test/vm. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { afterAll, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import type { HostFacts } from '../../src/workshop/doctor/facts.ts';
import type { Finding } from '../../src/workshop/doctor/judge.ts';
import { needs } from '../support/need.ts';
import { checkout, runProgram } from '../support/tinyctr.ts';

const folder = mkdtempSync(`${tmpdir()}/tinyctr-test-doctor-`);
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Told {
  containers: boolean;
  findings: Finding[];
  facts: HostFacts;
}

const words = ['--root', `${folder}/root`, '--run-root', `${folder}/run`, 'doctor'];

test(
  'as root: facts are the kernel’s, containers can be made, and nothing is left',
  needs({ root: true }),
  async () => {
    const { code, stdout, stderr } = await runProgram(`${checkout}/bin/tinyctr`, [...words, '--format', 'json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { containers, facts, findings } = JSON.parse(stdout) as Told;
    expect(containers).toBe(true);
    expect(facts).toMatchObject({ root: true, kernel: release(), built: true, seccomp: 'works', overlay: 'works' });
    expect(facts.cgroup).toMatchObject({ folder: cgroupRoot(), made: 'works', kill: 'works', devices: 'works' });
    expect(facts.cgroup.controllers.join(' ')).toBe(readFileSync(`${cgroupRoot()}/cgroup.controllers`, 'utf8').trim());
    for (const type of ['mount', 'pid', 'uts', 'ipc', 'network', 'cgroup', 'user'])
      expect(facts.namespaces[type], type).toBe('works');
    expect(facts.store).toMatchObject({ path: `${folder}/root`, existing: folder, writable: 'works' });
    for (const { topic, level, means, fix } of findings) {
      expect(means.length, topic).toBeGreaterThan(10);
      if (level === 'warning' || level === 'missing') expect(fix, topic).toBeTruthy();
    }
    expect(readdirSync(folder)).toEqual([]);
    expect(readdirSync(cgroupRoot()).filter((name) => name.includes('doctor'))).toEqual([]);
  },
);

test('without root it says what it could not look at', needs({ root: true, command: 'setpriv' }), async () => {
  const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', `${checkout}/bin/tinyctr`, ...words];
  const { code, stdout, stderr } = await runProgram('setpriv', nobody);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/\n {2}overlay +not tried: that needs root\n/);
  expect(stdout).toMatch(/\n {2}libseccomp +\d/);
  expect(stdout).toMatch(/\nContainers can be made here, as far as could be looked at/);
});

test(
  'without cgroup v2: status 1, and the command that mounts it',
  needs({ root: true, command: 'unshare' }),
  async () => {
    const script = `umount -l /sys/fs/cgroup && exec ${checkout}/bin/tinyctr ${words.join(' ')}`;
    const { code, stdout } = await runProgram('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^Needed, and not there:\n {2}cgroup layout +cgroup v2 is not mounted/);
    expect(stdout).toMatch(/fix: mount -t cgroup2 none \/sys\/fs\/cgroup\n/);
    expect(stdout).toMatch(/\nContainers can’t be made here: 1 of what is needed is missing\.\n$/);
  },
);
