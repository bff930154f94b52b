/** The cgroup driver on the kernel's own files, with the controllers that this machine has (hugetlb), and its errors. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cgroupRoot, createCgroup, killCgroup, removeCgroup } from '../../src/core/host/cgroup.ts';
import { setFrozen } from '../../src/core/host/freeze.ts';
import { planLimits } from '../../src/core/plan/cgroup.ts';
import type { CgroupPlan } from '../../src/core/plan/plan.ts';
import type { Resources } from '../../src/core/spec/types.ts';
import { readStatistics } from '../../src/lifecycle/statistics.ts';
import { updateCgroup } from '../../src/lifecycle/update.ts';
import { need, needs } from '../support/need.ts';

const top = `/tinyctr-test-cgroup-${process.pid}`;
const plan = (name: string, resources: Resources = {}, more: Partial<CgroupPlan> = {}): CgroupPlan => ({
  ...{ path: `${top}/${name}`, files: planLimits(resources), ...more },
});

/** In what comes as an error of core. */
function refusal(act: () => unknown): { message: string; hint: string | undefined } {
  try {
    act();
  } catch (error) {
    const { message, hint } = error as { message: string; hint?: string };
    return { message, hint };
  }
  throw new Error('nothing was refused');
}

describe('the cgroup driver', needs({ root: true }), () => {
  const root = need({ root: true }) === undefined ? cgroupRoot() : '';
  const children: ChildProcess[] = [];
  const read = (name: string, file: string) => readFileSync(`${root}${top}/${name}/${file}`, 'utf8').trim();
  const write = (name: string, file: string, text: string) => writeFileSync(`${root}${top}/${name}/${file}`, text);

  /** A process that sleeps, in a cgroup. */
  function sleeper(name: string): number {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    children.push(child);
    write(name, 'cgroup.procs', String(child.pid));
    return child.pid!;
  }

  beforeEach(() => mkdirSync(`${root}${top}`));
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    killCgroup(root + top);
    await removeCgroup(root + top);
  });

  const hugetlb = (limit: number): Resources => ({ hugepageLimits: [{ pageSize: '2MB', limit }] });
  const hugePages = root !== '' && readFileSync(`${root}/cgroup.controllers`, 'utf8').includes('hugetlb');
  const withHugetlb = { skip: !hugePages || !existsSync('/sys/kernel/mm/hugepages/hugepages-2048kB') };

  describe('with a controller', withHugetlb, () => {
    test('it is enabled all the way down, limits are written, changed while the cgroup lives, and read', () => {
      const folder = createCgroup(plan('deep/er/one', hugetlb(4 << 20)));
      expect(folder).toBe(`${root}${top}/deep/er/one`);
      expect(read('deep/er/one', 'hugetlb.2MB.max')).toBe(String(4 << 20));
      expect(read('deep/er/one', 'hugetlb.2MB.rsvd.max')).toBe(String(4 << 20));
      sleeper('deep/er/one');
      updateCgroup(root, plan('deep/er/one', hugetlb(8 << 20)));
      expect(readStatistics(folder)).toMatchObject({
        cpu: { stat: { usage_usec: expect.any(Number) } },
        hugetlb: { '2MB': { current: 0, max: 8 << 20, events: { max: 0 }, rsvd: { max: 8 << 20 } } },
      });
      expect(readStatistics(folder)).not.toHaveProperty('pids');
    });

    test('an update of which a part is refused changes nothing', () => {
      createCgroup(plan('one', hugetlb(4 << 20)));
      const bad = { ...hugetlb(0), unified: { 'hugetlb.2MB.rsvd.max': '0', 'hugetlb.1GB.max': 'much' } };
      expect(refusal(() => updateCgroup(root, plan('one', bad))).message).toMatch(
        /^the value of hugetlb\.1GB\.max can't be set: (hugetlb\.1GB\.max refuses much \(EINVAL\)|this kernel has no)/,
      );
      expect(read('one', 'hugetlb.2MB.max')).toBe(String(4 << 20));
      expect(read('one', 'hugetlb.2MB.rsvd.max')).toBe(String(4 << 20));
    });

    test('a controller that no limit asked for is enabled where everything is to be measured', () => {
      createCgroup(plan('plain'));
      expect(existsSync(`${root}${top}/plain/hugetlb.2MB.max`)).toBe(false);
      createCgroup(plan('measured', {}, { everyController: true }));
      expect(existsSync(`${root}${top}/measured/hugetlb.2MB.max`)).toBe(true);
    });

    test('a size of page that the kernel has not is named, and no cgroup is left', () => {
      const none = { hugepageLimits: [{ pageSize: '3MB', limit: 0 }] };
      expect(refusal(() => createCgroup(plan('one', none))).message).toBe(
        "the limit of 3MB pages can't be set: this kernel has no hugetlb.3MB.max (no such file or directory)",
      );
      expect(existsSync(`${root}${top}/one`)).toBe(false);
    });

    test('E7: processes in a cgroup that has to have children are named', () => {
      mkdirSync(`${root}${top}/full`);
      const pid = sleeper('full');
      const { message, hint } = refusal(() => createCgroup(plan('full/one', hugetlb(0))));
      expect(message).toBe(
        `can't hand hugetlb to the children of ${root}${top}/full: processes sit in it (${pid} sleep)`,
      );
      expect(hint).toContain('No Internal Process Constraint');
      expect(readdirSync(`${root}${top}/full`, { withFileTypes: true }).filter((e) => e.isDirectory())).toEqual([]);
      // One that only would be measured is no reason to fail.
      createCgroup(plan('full/one', {}, { everyController: true }));
    });

    test('E8: who may not enable a controller is told which file refuses, and whose it is', () => {
      mkdirSync(`${root}${top}/mine`);
      chownSync(`${root}${top}/mine`, 12345, 12345);
      const path = `${root}${top}/mine/cgroup.subtree_control`;
      writeFileSync(`${root}${top}/cgroup.subtree_control`, '+hugetlb');
      process.seteuid!(12345);
      try {
        const { message, hint } = refusal(() => createCgroup(plan('mine/one', hugetlb(0))));
        expect(message).toBe(
          `can't hand hugetlb to the children of ${root}${top}/mine: uid 12345 can't write to ${path}, which belongs to uid 0`,
        );
        expect(hint).toMatch(/^controllers that are handed on here: none\. .*Delegate=yes/);
      } finally {
        process.seteuid!(0);
      }
    });
  });

  test('E8: without permission the folder is named; in a sub-tree that was handed over it works', async () => {
    mkdirSync(`${root}${top}/mine`);
    chownSync(`${root}${top}/mine`, 12345, 12345);
    process.seteuid!(12345);
    try {
      const { message, hint } = refusal(() => createCgroup(plan('one')));
      expect(message).toBe(
        `can't make the cgroup ${root}${top}/one: uid 12345 can't write to ${root}${top}, which belongs to uid 0`,
      );
      expect(hint).toContain('systemd-run --user --scope -p Delegate=yes');
      await removeCgroup(createCgroup(plan('mine/deep/one')));
      rmdirSync(`${root}${top}/mine/deep`);
    } finally {
      process.seteuid!(0);
    }
  });

  const everything = root !== '' && readFileSync(`${root}/cgroup.controllers`, 'utf8').includes('memory');
  test('a limit whose controller is missing is an error; that there is none is not', { skip: everything }, () => {
    createCgroup(plan('one', { memory: { limit: -1, swap: -1 }, pids: { limit: -1 }, cpu: { idle: 0, burst: 0 } }));
    updateCgroup(root, plan('one', { pids: { limit: -1 } }));
    const missing = "the memory limit can't be kept: the memory controller is not in cgroup v2";
    expect(refusal(() => createCgroup(plan('two', { memory: { limit: 1 << 30 } }))).message).toContain(missing);
    expect(refusal(() => updateCgroup(root, plan('one', { memory: { limit: 1 << 30 } }))).message).toContain(missing);
    expect(existsSync(`${root}${top}/two`)).toBe(false);
  });

  describe('a cgroup that exists already', () => {
    const reuse = (name: string) => createCgroup(plan(name, {}, { reuse: true }));

    test('is taken if it is empty and that is allowed', () => {
      mkdirSync(`${root}${top}/one`);
      expect(refusal(() => createCgroup(plan('one')))).toEqual({
        message: `the cgroup ${top}/one exists already`,
        hint: expect.stringContaining('cleanup'),
      });
      expect(reuse('one')).toBe(`${root}${top}/one`);
    });

    test('is refused while processes are in it or below, or it is frozen', () => {
      mkdirSync(`${root}${top}/one/below`, { recursive: true });
      const message = (why: string) => `the cgroup ${top}/one exists already, and is in use: ${why}`;
      const pid = sleeper('one/below');
      expect(refusal(() => reuse('one')).message).toBe(
        message("container's cgroup is not empty: processes are below it"),
      );
      write('one', 'cgroup.procs', String(pid));
      expect(refusal(() => reuse('one')).message).toBe(
        message(`container's cgroup is not empty: process ${pid} is in it`),
      );
      writeFileSync(`${root}${top}/cgroup.procs`, String(pid));
      write('one', 'cgroup.freeze', '1');
      expect(refusal(() => reuse('one')).message).toBe(message("container's cgroup unexpectedly frozen"));
      write('one', 'cgroup.freeze', '0');
      reuse('one');
    });

    test('is refused if it hands controllers on', withHugetlb, () => {
      createCgroup(plan('one/below', hugetlb(0)));
      expect(refusal(() => reuse('one')).message).toMatch(/hands controllers on \(hugetlb\), so no process may enter/);
    });
  });

  test('frozen is frozen when it returns, with everything below, and thawed is thawed', () => {
    mkdirSync(`${root}${top}/one/below`, { recursive: true });
    for (let i = 0; i < 5; i++) sleeper(i % 2 ? 'one' : 'one/below');
    setFrozen(`${root}${top}/one`, true);
    expect(read('one/below', 'cgroup.events')).toBe('populated 1\nfrozen 1');
    setFrozen(`${root}${top}/one`, false);
    expect(read('one', 'cgroup.events')).toBe('populated 1\nfrozen 0');
  });

  test('cgroups that a container made within its own go with it', async () => {
    const folder = createCgroup(plan('one'));
    mkdirSync(`${folder}/a/b/c`, { recursive: true });
    sleeper('one/a/b/c');
    killCgroup(folder);
    await removeCgroup(folder);
    expect(existsSync(folder)).toBe(false);
  });
});
