/** `tinyctr compare`: one configuration under tinyctr-oci and another runtime. Faults are put into runc to see that they are found, and nothing else. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { defaultSpec } from '../../src/oci/default-spec.ts';
import type { Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { checkout, Engine, mountsBelow, scratch, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => {
  expect(left()).toEqual([]);
  engine.remove();
});

/** What comparisons that are over have left: folders, mounts, cgroups and processes. Others may be running. */
function left(): string[] {
  const folders = readdirSync(tmpdir()).filter((name) => name.startsWith('tinyctr-compare-'));
  const cgroups = spawnSync('find', [cgroupRoot(), '-name', '*tinyctr-compare-*'], { encoding: 'utf8' }).stdout;
  const probes = readdirSync('/proc').filter((pid) => textOf(pid, 'cmdline').startsWith('/.tinyctr-compare/probe'));
  const found = [...folders, ...cgroups.split('\n'), ...probes.map((pid) => textOf(pid, 'cgroup'))];
  return [...found, ...mountsBelow('tinyctr-compare-')].filter((text) => {
    const pid = /tinyctr-compare-(\d+)/.exec(text)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
}

/** '' where there is no such file, or no such process any more. */
function textOf(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function bundle(change: (spec: Spec) => void = () => {}): string {
  const folder = scratch(engine);
  const spec = structuredClone(defaultSpec);
  spec.root!.path = engine.rootfs();
  chmodSync(spec.root!.path, 0o755);
  change(spec);
  writeFileSync(`${folder}/config.json`, JSON.stringify(spec));
  return folder;
}

interface Shown {
  same: boolean;
  differences: { subject: string; ours: string | null; theirs: string | null; explained: string | null }[];
  equal: Record<string, number>;
  notes: string[];
}

async function compared(words: readonly string[], env: Record<string, string> = {}): Promise<Shown & { code: number }> {
  const { code, stdout, stderr } = await engine.runWith({ env }, 'compare', '--format', 'json', ...words);
  if (stdout === '') throw new Error(stderr);
  return { ...(JSON.parse(stdout) as Shown), code: code! };
}

/** By the device rules of a cgroup that this process is in; a runtime's fault can leave some at the top of the hierarchy. */
function isForbidden(device: string): boolean {
  try {
    closeSync(openSync(device, 'r'));
    return false;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}

const open = ({ differences }: Shown) => differences.filter(({ explained }) => explained === null);

const faulty = (fault: string, folder = bundle()) =>
  compared(['--with', `${checkout}/test/support/faulty-runc`, '--bundle', folder], {
    FAULT: fault,
    TEST_NODE: process.execPath,
  });

describe('compare with runc', needs({ root: true, command: 'runc' }), () => {
  test('the default bundle: every difference is explained, and status 0', async () => {
    const result = await compared(['--bundle', bundle()]);
    expect(open(result)).toEqual([]);
    expect(result).toMatchObject({ code: 0, same: true });
    expect(result.differences.length).toBeGreaterThan(5);
    for (const group of ['mounts', 'capabilities', 'limits', 'paths', 'device rules', 'sysctls', 'system calls'])
      expect(result.equal[group], group).toBeGreaterThan(4);
  });

  test.each([
    [
      'a capability is dropped',
      `for (const set of Object.values(spec.process.capabilities)) set.shift()`,
      ['permitted', 'effective', 'bounding'].map((set) => [
        `capabilities ${set}`,
        'CAP_KILL CAP_NET_BIND_SERVICE CAP_AUDIT_WRITE',
        'CAP_KILL CAP_NET_BIND_SERVICE',
      ]),
    ],
    [
      'a mount option is changed',
      `spec.mounts[3].options = spec.mounts[3].options.filter((option) => option !== 'noexec')`,
      [['mount /dev/shm: options', 'rw,nosuid,nodev,noexec,relatime', 'rw,nosuid,nodev,relatime']],
    ],
    [
      'a resource limit is changed',
      'spec.process.rlimits[0].soft = 1000',
      [['limit open files', 'soft 1024, hard 1024', 'soft 1000, hard 1024']],
    ],
    [
      'a path is no longer read-only',
      `spec.linux.readonlyPaths = spec.linux.readonlyPaths.filter((path) => path !== '/proc/irq')`,
      expect.arrayContaining([['path /proc/irq/default_smp_affinity: write', 'EROFS', 'opens']]),
    ],
    [
      'a sysctl is another',
      `spec.linux.sysctl = { 'kernel.msgmax': '4000' }`,
      [['sysctl kernel.msgmax', '8192', '4000']],
    ],
  ])('%s: found, and nothing else', async (_, fault, expected) => {
    const result = await faulty(fault);
    expect(open(result).map(({ subject, ours, theirs }) => [subject, ours, theirs])).toEqual(expected);
    expect(result).toMatchObject({ code: 1, same: false });
  });

  test('a device may be opened: found, and nothing else', async (ctx) => {
    ctx.skip(isForbidden('/dev/fuse'), 'a cgroup above forbids even the host to open /dev/fuse');
    const result = await faulty(
      `spec.linux.resources.devices.push({ allow: true, type: 'c', major: 10, minor: 229, access: 'r' })`,
    );
    expect(open(result)).toMatchObject([{ subject: 'device c 10 229: read', ours: 'EPERM' }]);
    expect(open(result)[0]!.theirs).not.toBe('EPERM');
  });

  test('a filter is another: refused by errno, by a kill, or not at all', async () => {
    const rule = (action: string, names: string[], errnoRet?: number) => ({
      names,
      action,
      ...(errnoRet ? { errnoRet } : {}),
    });
    const seccomp = (...syscalls: object[]) => ({ defaultAction: 'SCMP_ACT_ALLOW', syscalls });
    const folder = bundle((spec) => {
      spec.linux!.seccomp = seccomp(
        rule('SCMP_ACT_ERRNO', ['mincore'], 38),
        rule('SCMP_ACT_KILL_PROCESS', ['acct']),
      ) as never;
    });
    const theirs = seccomp(rule('SCMP_ACT_ERRNO', ['mincore'], 1), rule('SCMP_ACT_ERRNO', ['acct'], 1));
    const result = await faulty(`spec.linux.seccomp = ${JSON.stringify(theirs)}`, folder);
    expect(open(result).map(({ subject, ours, theirs }) => [subject, ours, theirs])).toEqual([
      ['call acct', 'killed by signal 31', 'EPERM'],
      ['call mincore', 'ENOSYS', 'EPERM'],
    ]);
  });

  test('the user’s bundle is not touched, though the container may write', async () => {
    const folder = bundle((spec) => {
      spec.root!.readonly = false;
      spec.process!.terminal = false;
      spec.mounts!.push({ destination: '/made/here', type: 'bind', source: 'data', options: ['bind', 'ro'] });
    });
    spawnSync('mkdir', [`${folder}/data`]);
    const rootfs = (JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as Spec).root!.path;
    const files = () =>
      spawnSync('find', [folder, rootfs, '-printf', '%p %y %m %U %T@ %s\n'], { encoding: 'utf8' }).stdout;
    const before = files();
    const result = await compared(['--bundle', folder]);
    expect(files()).toBe(before);
    expect(before.split('\n').length).toBeGreaterThan(10);
    expect(open(result)).toEqual([]);
  });

  test('an image, as run would make it, with the words for people', async () => {
    const { code, stdout, stderr } = await engine.run('compare', 'busybox', 'ls', '-l');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^busybox ls -l under tinyctr-oci \S+ and runc \S+\n/);
    expect(stdout).toMatch(
      /\n {2}device c 10 200: read\n {4}tinyctr-oci {2}EPERM\n {4}runc {9}opens\n {4}because {6}\S/,
    );
    expect(stdout).toMatch(/\nThe same: \d{4} facts \(/);
    expect(stdout).toMatch(/\nTime: create \d+ ms and \d+ ms, start/);
  });

  test('--syscalls: both constructions side by side', needs({ command: 'strace' }), async () => {
    const { code, stdout } = await engine.run('compare', '--syscalls', '--bundle', bundle());
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /\n= file system proc\n {4}tinyctr-oci {2}fsopen\("proc".*move_mount\n {4}runc {9}mount\("proc"/,
    );
    expect(stdout).toMatch(/\n= pivot_root\n {4}tinyctr-oci {2}pivot_root\("\.", "\."\)\n {4}runc {9}pivot_root/);
    expect(stdout).toMatch(/\n> session keyring\n {4}runc {9}keyctl\(KEYCTL_JOIN_SESSION_KEYRING/);
    expect(stdout).toMatch(/\n~ bind mount at \/proc\/keys\n/);
    expect(stdout).toMatch(
      /\n= the program\n {4}tinyctr-oci {2}execve\("\/\.tinyctr-compare\/probe".*\n {4}runc {9}execve/,
    );
  });

  test('Ctrl-C in the middle: status 130, and nothing is left', async () => {
    const { code, stderr } = await interrupted('SIGINT', bundle());
    expect(code).toBe(130);
    expect(stderr).toMatch(/the comparison was interrupted/);
    expect(left()).toEqual([]);
  });

  test('what others put where its folders are is not touched', async () => {
    const own = scratch(engine);
    spawnSync('mkdir', ['-p', `${own}/outside/empty`, `${own}/tmp/tinyctr-compare-4194305`]);
    symlinkSync(`${own}/outside`, `${own}/tmp/tinyctr-compare-4194305/link`);
    symlinkSync(`${own}/outside`, `${own}/tmp/tinyctr-compare-4194306`);
    expect((await compared(['--bundle', bundle()], { TMPDIR: `${own}/tmp` })).code).toBe(0);
    expect(readdirSync(`${own}/outside`)).toEqual(['empty']);
    expect(readdirSync(`${own}/tmp`)).toHaveLength(2);
  });

  test('killed with -9 in the middle: no process and no mount is left, the next one takes the rest', async () => {
    await interrupted('SIGKILL', bundle());
    expect((await compared(['--bundle', bundle()])).code).toBe(0);
    expect(left()).toEqual([]);
  });
});

/** Sends a signal as soon as the first container is there. */
async function interrupted(signal: NodeJS.Signals, folder: string): Promise<{ code: number | null; stderr: string }> {
  const words = [...engine.command.slice(1), 'compare', '--bundle', folder];
  const child = spawn(engine.command[0]!, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const cgroup = `${cgroupRoot()}/tinyctr-oci/1-tinyctr-compare-${child.pid}`;
  await until('the first container', () => existsSync(cgroup), 20_000);
  child.kill(signal);
  return { code: await ended, stderr };
}

describe('tinyctr-oci with itself', needs({ root: true }), () => {
  const itself = `${checkout}/bin/tinyctr-oci`;

  test('is the same in everything, also without /proc and with a user namespace', async () => {
    const folder = bundle((spec) => {
      spec.mounts = spec.mounts!.filter(({ destination }) => destination === '/dev');
      delete spec.linux!.maskedPaths;
      delete spec.linux!.readonlyPaths;
      spec.linux!.namespaces!.push({ type: 'user' });
      const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
      Object.assign(spec.linux!, { uidMappings: map, gidMappings: map });
      spec.process!.user = { uid: 1000, gid: 1000, additionalGids: [7, 8] };
      spec.process!.terminal = false;
    });
    const result = await compared(['--with', itself, '--bundle', folder]);
    expect(result).toMatchObject({ code: 0, differences: [] });
    expect(result.equal).toMatchObject({ 'system calls': expect.any(Number), sysctls: expect.any(Number) });
  });
});

describe('what can’t be compared is status 2', needs({ root: true }), () => {
  const failing = async (...words: string[]) => {
    const { code, stdout, stderr } = await engine.run('compare', ...words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(left()).toEqual([]);
    return stderr;
  };

  /** A runtime that says who it is, and then does what the script says. */
  function runtime(script: string): string {
    const path = `${scratch(engine)}/runtime`;
    writeFileSync(path, `#!/bin/sh\ncase $* in --version) echo "other version 1"; exit 0;; esac\n${script}\n`, {
      mode: 0o755,
    });
    return path;
  }

  test('no such runtime, no such bundle, no JSON, neither or both', async () => {
    expect(await failing('--with', 'no-such-runtime', 'busybox')).toMatch(/no-such-runtime can't be run: ENOENT/);
    expect(await failing('--bundle', scratch(engine))).toMatch(/config\.json can't be read \(ENOENT\)/);
    const folder = scratch(engine);
    writeFileSync(`${folder}/config.json`, '{');
    expect(await failing('--bundle', folder)).toMatch(/is not JSON/);
    expect(await failing()).toMatch(/either an image or --bundle/);
    expect(await failing('--bundle', folder, 'busybox')).toMatch(/either an image or --bundle/);
  });

  test('what one runtime refuses is told in its words', async () => {
    const folder = bundle((spec) => {
      spec.process!.cwd = 'relative';
    });
    expect(await failing('--bundle', folder)).toMatch(/tinyctr-oci create ends with 1: .*\/process\/cwd/s);
    expect(await failing('--with', runtime('echo no luck >&2; exit 7'), 'busybox')).toMatch(
      /runtime create ends with 7: no luck/,
    );
    expect(await failing('--with', runtime('exit 0'), 'busybox')).toMatch(/wrote no pid file/);
  });

  test('a probe that may not write tells nothing', async () => {
    const folder = bundle((spec) => {
      spec.linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['write'], action: 'SCMP_ACT_KILL_PROCESS' }],
      } as never;
      spec.process!.terminal = false;
    });
    expect(await failing('--bundle', folder)).toMatch(/the probe told nothing under tinyctr-oci/);
  });

  test('a cgroup that exists is somebody’s', async () => {
    const folder = bundle((spec) => {
      spec.linux!.cgroupsPath = '/tinyctr-oci';
    });
    spawnSync('mkdir', ['-p', `${cgroupRoot()}/tinyctr-oci`]);
    expect(await failing('--bundle', folder)).toMatch(/the cgroup .* of config.json exists already/);
  });
});
