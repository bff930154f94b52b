/** process.scheduler, ioPriority, execCPUAffinity and linux.personality, as the host's tools see the container's process. */
import { existsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { runProgram } from '../support/tinyctr.ts';
import { differs, Runtime, runtime } from './oci-support.ts';

const sleep = 'trap "exit 0" TERM; while :; do sleep 0.05; done';

describe(`${runtime}`, needs({ root: true }), () => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(runtime);
  });

  afterAll(() => oci.end());

  /** Prints of this program with the pid of a created container. */
  async function seen(change: (spec: Spec) => void, id: string, ...command: [string, ...string[]]): Promise<string> {
    const { code, output } = await oci.create(oci.bundle(sleep, change), id);
    expect({ code, output: output() }).toEqual({ code: 0, output: '' });
    const { pid } = JSON.parse((await oci.call('state', id)).stdout) as { pid: number };
    const { stdout, stderr } = await runProgram(command[0], [...command.slice(1), String(pid)]);
    expect(stderr).toBe('');
    await oci.call('delete', '--force', id);
    return stdout;
  }

  test.each([
    [{ policy: 'SCHED_BATCH', nice: 7 }, /SCHED_BATCH/],
    [{ policy: 'SCHED_IDLE' }, /SCHED_IDLE/],
    [
      { policy: 'SCHED_RR', priority: 3, flags: ['SCHED_FLAG_RESET_ON_FORK'] },
      /SCHED_RR\|SCHED_RESET_ON_FORK[\s\S]*priority: 3/,
    ],
  ])('scheduler %j', differs(runtime, 'newer-than-runc-1.1'), async (scheduler, wanted) => {
    expect(await seen(({ process }) => Object.assign(process!, { scheduler }), 'sched', 'chrt', '-p')).toMatch(wanted);
  });

  test('scheduler.nice', differs(runtime, 'newer-than-runc-1.1'), async () => {
    const scheduler = { policy: 'SCHED_OTHER', nice: 11 };
    const found = await seen(({ process }) => Object.assign(process!, { scheduler }), 'nice', 'ps', '-o', 'ni=', '-p');
    expect(found.trim()).toBe('11');
  });

  test.each([
    [{ class: 'IOPRIO_CLASS_BE', priority: 6 }, 'best-effort: prio 6\n'],
    [{ class: 'IOPRIO_CLASS_IDLE', priority: 0 }, 'idle\n'],
  ])('ioPriority %j', differs(runtime, 'newer-than-runc-1.1'), async (ioPriority, wanted) => {
    expect(await seen(({ process }) => Object.assign(process!, { ioPriority }), 'io', 'ionice', '-p')).toBe(wanted);
  });

  test('personality LINUX32, for the container and for exec', differs(runtime, 'newer-than-runc-1.1'), async () => {
    const path = oci.bundle(`uname -m; ${sleep}`, ({ linux }) =>
      Object.assign(linux!, { personality: { domain: 'LINUX32' } }),
    );
    const { output } = await oci.create(path, 'old');
    await oci.call('start', 'old');
    const machine = process.arch === 'x64' ? 'i686\n' : 'armv8l\n';
    expect((await oci.call('exec', 'old', 'uname', '-m')).stdout).toBe(machine);
    expect(output()).toBe(machine);
  });

  test.skipIf(availableParallelism() < 2)(
    'execCPUAffinity is for exec, and for it alone',
    differs(runtime, 'newer-than-runc-1.1'),
    async () => {
      const allowed = 'grep Cpus_allowed_list /proc/self/status | cut -f 2';
      const path = oci.bundle(`${allowed}; ${sleep}`, ({ process }) =>
        Object.assign(process!, { execCPUAffinity: { initial: '0', final: '1' } }),
      );
      const { output } = await oci.create(path, 'affine');
      await oci.call('start', 'affine');
      expect((await oci.call('exec', 'affine', 'sh', '-c', allowed)).stdout).toBe('1\n');
      const all = output();
      expect(all).not.toBe('1\n');
      const file = `${oci.engine.folder}/process.json`;
      const process = { args: ['sh', '-c', allowed], cwd: '/', user: { uid: 0, gid: 0 }, env: ['PATH=/bin'] };
      writeFileSync(file, JSON.stringify({ ...process, execCPUAffinity: { initial: '1' } }));
      expect((await oci.call('exec', '--process', file, 'affine')).stdout).toBe(all);
    },
  );

  test.each<[string, (spec: Spec) => void, string]>([
    [
      '/process/scheduler/priority',
      ({ process }) => Object.assign(process!, { scheduler: { policy: 'SCHED_OTHER', priority: 3 } }),
      'only for SCHED_FIFO and SCHED_RR',
    ],
    [
      '/process/scheduler/nice',
      ({ process }) => Object.assign(process!, { scheduler: { policy: 'SCHED_FIFO', nice: 3 } }),
      'only for SCHED_OTHER and SCHED_BATCH',
    ],
    [
      '/process/scheduler/policy',
      ({ process }) => Object.assign(process!, { scheduler: { policy: 'SCHED_X' } }),
      'allowed is SCHED_OTHER',
    ],
    [
      '/process/scheduler/flags/0',
      ({ process }) => Object.assign(process!, { scheduler: { policy: 'SCHED_RR', flags: ['X'] } }),
      'SCHED_FLAG_RESET_ON_FORK',
    ],
    [
      '/process/ioPriority/class',
      ({ process }) => Object.assign(process!, { ioPriority: { class: 'X', priority: 1 } }),
      'IOPRIO_CLASS_RT',
    ],
    [
      '/process/execCPUAffinity/final',
      ({ process }) => Object.assign(process!, { execCPUAffinity: { final: '3-1' } }),
      'a list of processors',
    ],
    [
      '/linux/personality/domain',
      ({ linux }) => Object.assign(linux!, { personality: { domain: 'BSD' } }),
      'LINUX, LINUX32',
    ],
    [
      '/linux/personality/flags/0',
      ({ linux }) => Object.assign(linux!, { personality: { domain: 'LINUX', flags: ['X'] } }),
      'is "X"',
    ],
  ])('%s is checked before anything happens', differs(runtime, 'validation-first'), async (pointer, change, words) => {
    const { code, stderr } = await oci.run(oci.bundle('echo ran', change), 'wrong');
    expect(code).toBe(1);
    expect(stderr).toContain(pointer);
    expect(stderr).toContain(words);
  });

  test.each<[string, (spec: Spec) => void, string]>([
    [
      '/process/apparmorProfile',
      ({ process }) => Object.assign(process!, { apparmorProfile: 'x' }),
      'apparmor: config provided but apparmor not supported',
    ],
    [
      '/process/selinuxLabel',
      ({ process }) => Object.assign(process!, { selinuxLabel: 'x' }),
      'selinux label is specified in config, but selinux is disabled or not supported',
    ],
    [
      '/linux/mountLabel',
      ({ linux }) => Object.assign(linux!, { mountLabel: 'x' }),
      'selinux mount label is specified in config, but selinux is disabled',
    ],
  ])(
    '%s without its security module is an error, never ignored',
    differs(runtime, 'validation-first'),
    async (pointer, change, words) => {
      if (existsSync('/sys/fs/selinux/enforce') || existsSync('/sys/kernel/security/apparmor')) return; // tried in test/vm
      const { code, stderr, stdout } = await oci.run(oci.bundle('echo ran', change), 'label');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain(words);
      expect(stderr).toContain(pointer);
    },
  );
});
