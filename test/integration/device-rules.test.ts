import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { attachDeviceRules } from '../../src/core/host/device-filter.ts';
import type { ContainerError } from '../../src/core/kernel/error.ts';
import { type DeviceRule, defaultDeviceRules, deviceProgram } from '../../src/core/plan/device-rules.ts';
import type { HostFd } from '../../src/core/stage/stage.ts';
import { needs } from '../support/need.ts';

const denyAll: DeviceRule = { allow: false, access: 'rwm' };

/** A block major without a driver: even an open that nothing forbids reaches no disk, it is ENXIO. */
function freeBlockMajor(): number {
  const [, blocks = ''] = readFileSync('/proc/devices', 'utf8').split('Block devices:');
  const used = [...blocks.matchAll(/^\s*(\d+)/gm)].map(([, digits]) => Number(digits));
  return [240, 241, 242, 243, 244, 245, 246, 247].find((major) => !used.includes(major))!;
}

describe('device rules', needs({ root: true, capability: 'CAP_SYS_ADMIN' }), () => {
  const major = freeBlockMajor();
  let top: string;
  let cgroup: string;
  let cgroupFd: HostFd;
  let nodes: string;
  let count = 0;

  beforeAll(() => {
    top = `${cgroupRoot()}/tinyctr-test-${process.pid}`;
    // /tmp and /dev/shm are often mounted nodev
    nodes = mkdtempSync('/dev/tinyctr-device-rules-');
    mkdirSync(top);
  });
  beforeEach(() => {
    cgroup = `${top}/${count++}`;
    mkdirSync(cgroup);
    cgroupFd = openSync(cgroup, 'r') as HostFd;
    return () => {
      closeSync(cgroupFd);
      rmdirSync(cgroup);
      rmSync(nodes, { recursive: true });
      mkdirSync(nodes);
    };
  });
  afterAll(() => {
    rmdirSync(top);
    rmSync(nodes, { recursive: true });
  });

  const attach = (rules: readonly DeviceRule[]) => attachDeviceRules(cgroupFd, deviceProgram(rules)!);

  /** Runs a line of shell in the cgroup, the folder for nodes as its directory: '' or the first error's reason. */
  function inCgroup(line: string, folder = cgroup): string {
    const script = `echo $$ > "$1/cgroup.procs" && ${line}`;
    const options = { cwd: nodes, encoding: 'utf8', env: { PATH: process.env.PATH, LC_ALL: 'C' } } as const;
    const { status, stderr } = spawnSync('sh', ['-c', script, 'sh', folder], options);
    return status === 0 ? '' : (stderr.trim().split(': ').at(-1) ?? '').replace(/^cannot /, '');
  }

  it('let a container make any node and open none but its own', () => {
    expect(inCgroup(`mknod before b ${major} 0 && : < before`)).toMatch(/No such device or address/);
    expect(inCgroup('mknod kmsg c 1 11 && : < kmsg')).toBe('');
    attach([denyAll, ...defaultDeviceRules]);
    expect(inCgroup(`mknod disk b ${major} 0 && mknod mem c 1 1 && mknod tun c 10 200`)).toBe('');
    for (const node of ['disk', 'mem', 'tun', 'kmsg', 'before']) {
      expect(inCgroup(`: < ${node}`), node).toMatch(/Operation not permitted/);
      expect(inCgroup(`: >> ${node}`), node).toMatch(/Operation not permitted/);
    }
    expect(inCgroup('mknod null c 1 3 && : <> null && head -c 9 /dev/zero > null && : < /dev/ptmx')).toBe('');
    expect(inCgroup('mknod tty c 5 0 && setsid sh -c ": < tty"')).toMatch(/No such device or address/);
  });

  it('keep reading, writing and mknod apart', () => {
    attach([denyAll, { allow: true, type: 'c', major: 1, minor: 3, access: 'r' }]);
    expect(inCgroup(': < /dev/null')).toBe('');
    expect(inCgroup(': > /dev/null')).toMatch(/Operation not permitted/);
    expect(inCgroup(': <> /dev/null')).toMatch(/Operation not permitted/);
    expect(inCgroup('mknod null c 1 3')).toMatch(/Operation not permitted/);
  });

  it('bind the cgroups below, which may only take more away', () => {
    attach([denyAll, ...defaultDeviceRules]);
    const below = `${cgroup}/below`;
    mkdirSync(below);
    const belowFd = openSync(below, 'r') as HostFd;
    try {
      expect(inCgroup('mknod kmsg c 1 11 && : < kmsg', below)).toMatch(/Operation not permitted/);
      const wider: DeviceRule[] = [
        { allow: true, access: 'rwm' },
        { allow: false, type: 'c', major: 1, minor: 5, access: 'r' },
      ];
      attachDeviceRules(belowFd, deviceProgram(wider)!);
      expect(inCgroup(': < kmsg', below)).toMatch(/Operation not permitted/);
      expect(inCgroup(': < /dev/zero', below)).toMatch(/Operation not permitted/);
      expect(inCgroup(': < /dev/zero')).toBe('');
    } finally {
      closeSync(belowFd);
      rmdirSync(below);
    }
  });

  it('are accepted by the kernel in any shape and by the thousand', () => {
    const kinds = ['a', 'b', 'c'].flatMap((type) => [-1, 7].map((number) => ({ type, major: number, minor: number })));
    const accesses = ['r', 'w', 'm', 'rw', 'rwm'];
    attach(
      [true, false].flatMap((allow) => kinds.flatMap((kind) => accesses.map((access) => ({ ...kind, allow, access })))),
    );
    const many = Array.from({ length: 1000 }, (_, i) => ({
      allow: true,
      type: 'bc'[i % 2]!,
      major: i,
      minor: i % 9,
      access: 'rw',
    }));
    attach([denyAll, ...many, ...defaultDeviceRules]);
  });

  it('say what is wrong when the kernel refuses', () => {
    const failure = (act: () => void): ContainerError => {
      try {
        act();
      } catch (error) {
        return error as ContainerError;
      }
      throw new Error('nothing was refused');
    };
    const program = deviceProgram([denyAll])!;
    process.seteuid!(65534);
    let error: ContainerError;
    try {
      error = failure(() => attachDeviceRules(cgroupFd, program));
    } finally {
      process.seteuid!(0);
    }
    expect(error).toMatchObject({
      message: "the device rules can't be enforced: the kernel refuses their eBPF program",
      hint: expect.stringContaining('neither CAP_SYS_ADMIN nor CAP_BPF'),
      specPointer: '/linux/resources/devices',
      cause: { code: 'EPERM', facts: { syscall: 'bpf' } },
    });
    const wrong = failure(() => attachDeviceRules(cgroupFd, program.subarray(0, -8)));
    expect(wrong.hint).toBeUndefined();
    expect(wrong).toMatchObject({ cause: { code: 'EINVAL', message: expect.stringMatching(/last insn/) } });
    expect(failure(() => attachDeviceRules(-1 as HostFd, program))).toMatchObject({ cause: { code: 'EBADF' } });
  });
});
