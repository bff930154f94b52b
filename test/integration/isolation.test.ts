/**
 * The rungs of --isolation: each wall is seen by what can be done below it and not behind it. Whatever is done here only looks,
 * or is done to a process and a file of the test's own.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, copyFileSync, openSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { rungs } from '../../src/engine/isolation.ts';
import { needs } from '../support/need.ts';
import { cgroups, Engine, mountsBelow, processesWith, readIfThere, runProgram, until } from '../support/tinyctr.ts';

const source = new URL('../support/chroot-escape.c', import.meta.url).pathname;
function canOpen(path: string): boolean {
  try {
    closeSync(openSync(path, 'r'));
    return true;
  } catch {
    return false;
  }
}

const mark = `TINYCTR_TEST=isolation-${process.pid}`;

describe('tinyctr run --isolation', needs({ root: true, command: 'cc' }), () => {
  let engine: Engine;
  let image: string;
  /** A process of the host's that a container may try to signal. */
  let neighbour: ChildProcess;

  beforeAll(async () => {
    engine = await new Engine().prepare();
    execFileSync('cc', ['-static', '-O1', '-Wall', '-Wextra', '-Werror', '-o', `${engine.folder}/escape`, source]);
    image = await engine.image((rootfs) => copyFileSync(`${engine.folder}/escape`, `${rootfs}/bin/chroot-escape`));
    neighbour = spawn('sleep', ['1000']);
  });
  afterAll(() => {
    neighbour.kill('SIGKILL');
    expect(mountsBelow(engine.folder)).toEqual([]);
    engine.remove();
  });

  const shell = async (rung: string, script: string, ...options: string[]) =>
    engine.run('run', '--rm', '--isolation', rung, ...options, image, 'sh', '-c', script);
  /** What a script prints on each rung, from below. */
  const onEach = async (script: string, ...options: string[]) => {
    const printed: string[] = [];
    for (const rung of rungs) printed.push((await shell(rung, script, ...options)).stdout.trim());
    return printed;
  };

  test('is explained before the command, and does nothing to its output and status', async () => {
    for (const rung of rungs) {
      const { code, stdout, stderr } = await shell(rung, 'echo out; echo the command >&2; exit 7');
      expect({ code, stdout }).toEqual({ code: 7, stdout: 'out\n' });
      expect(stderr).toMatch(
        new RegExp(`^tinyctr: --isolation=${rung}: .+\n( {2}.+\n)* {2}missing(.+\n)+ {2}try(.+\n)+the command\n$`),
      );
    }
    expect((await shell('chroot', 'true')).stderr).toContain('not a wall');
    const { stderr } = await engine.run('--log-format', 'json', 'run', '--rm', '--isolation', 'chroot', image, 'true');
    expect(JSON.parse(stderr)).toMatchObject({ level: 'info', isolation: 'chroot' });
  });

  test('every rung has the namespaces that it says', async () => {
    const types = ['mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup', 'user'];
    const own = (printed: string) =>
      types.filter((type, i) => printed.split('\n')[i] !== readlinkSync(`/proc/self/ns/${type}`));
    const [chroot, namespaces, container] = await onEach(
      types.map((type) => `readlink /proc/self/ns/${type}`).join(';'),
    );
    expect(own(chroot!)).toEqual(['mnt']);
    expect(own(namespaces!)).toEqual(['mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup']);
    expect(own(container!)).toEqual(own(namespaces!));
  });

  test('chroot: the host’s processes are seen and can be signalled; namespaces: they are not there', async () => {
    const { pid } = neighbour;
    const [chroot, ...others] = await onEach(`kill -0 ${pid} 2>/dev/null && tr '\\0' ' ' </proc/${pid}/cmdline`);
    expect(chroot).toBe('sleep 1000');
    expect(others).toEqual(['', '']);
  });

  test('chroot: the host’s root is behind /proc/PID/root; namespaces: there is no such process', async () => {
    const host = statSync('/').ino;
    const [chroot, ...others] = await onEach('stat -c %i /proc/$PPID/root/ 2>/dev/null');
    expect(chroot).toBe(String(host));
    expect(others).toEqual(['', '']);
  });

  test('chroot: a second chroot leads out to the host’s root; namespaces: only to its own', async () => {
    const { dev, ino } = statSync('/');
    const [chroot, ...others] = await onEach('chroot-escape');
    expect(chroot).toBe(`${dev}:${ino}`);
    for (const other of others) {
      expect(other).toMatch(/^[0-9]+:[0-9]+$/); // the way is not closed: it leads nowhere
      expect(other.split(':')[0]).not.toBe(String(dev));
    }
  });

  test('chroot: the host’s name; namespaces: one of its own that it may change; container: one that it may not', async () => {
    const before = hostname();
    expect((await shell('chroot', 'hostname')).stdout).toBe(`${before}\n`);
    const [namespaces, container] = await Promise.all(
      ['namespaces', 'container'].map((rung) => shell(rung, 'hostname changed; hostname', '--hostname', 'own')),
    );
    expect(namespaces!.stdout).toBe('changed\n');
    expect(container!.stdout).toBe('own\n');
    expect(hostname()).toBe(before);
  });

  test('chroot: the host’s network; namespaces: loopback alone', async () => {
    const devices = (text: string) => [...text.matchAll(/^ *(\S+):/gm)].map(([, name]) => name).sort();
    const [chroot, ...others] = await onEach('cat /proc/net/dev');
    expect(devices(chroot!)).toEqual(devices(readFileSync('/proc/net/dev', 'utf8')));
    for (const other of others) expect(devices(other)).toEqual(['lo']);
  });

  test('namespaces: a mount, a device of the host’s; container: neither', async () => {
    // One that the host's root may open here and that opening does nothing to; a container has neither.
    const device = (
      [
        [10, 200, '/dev/net/tun'],
        [1, 11, '/dev/kmsg'],
      ] as const
    ).find(([, , path]) => canOpen(path));
    expect(device).toBeDefined();
    const [chroot, namespaces, container] = await onEach(
      `mount -t tmpfs none /mnt && echo mounted; mknod d c ${device![0]} ${device![1]}; exec 2>/dev/null 3<d && echo opened`,
    );
    expect([chroot, namespaces]).toEqual(['mounted\nopened', 'mounted\nopened']);
    expect(container).toBe('');
  });

  test('namespaces: all capabilities, no filter, nothing hidden; container: few, a filter, read-only and hidden paths', async () => {
    const script = `grep -E '^(CapEff|Seccomp):' /proc/self/status; (: >>/proc/sys/vm/swappiness) 2>/dev/null && echo writable
      grep -c ' /proc/.* ro' /proc/self/mountinfo`;
    const all = /^CapPrm:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1];
    const [chroot, namespaces, container] = await onEach(script);
    for (const open of [chroot, namespaces]) expect(open).toBe(`CapEff:\t${all}\nSeccomp:\t0\nwritable\n0`);
    expect(container).toMatch(/^CapEff:\t00000000a80425fb\nSeccomp:\t2\n[1-9][0-9]*$/);
  });

  test('a mount on the lower rungs stays in the mount namespace', async () => {
    await shell('chroot', 'mount -t tmpfs tinyctr-isolation-test /mnt; chroot-escape');
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('tinyctr-isolation-test');
  });

  test('nothing outlives the command, not even what it left in the host’s pid namespace', async () => {
    const { code } = await shell('chroot', '(setsid sleep 1000 &) ; sleep 0.1', '-e', mark);
    expect(code).toBe(0);
    expect(processesWith(mark)).toEqual([]);
    expect([engine.states(), engine.containers()]).toEqual([[], []]);
  });

  test('what tinyctr killed with -9 leaves of a chroot, the next command ends', async () => {
    const child = engine.spawn(
      ...['run', '--rm', '-e', mark, '--isolation', 'chroot', image, 'sh', '-c', 'setsid sleep 1000 & sleep 1000'],
    );
    await until('both run', () => processesWith(mark).length >= 2);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    const [id] = engine.states();
    expect(readIfThere(`${cgroupRoot()}/tinyctr/${id}/cgroup.procs`)).not.toBe(''); // the second sleep does not know
    expect((await engine.run('cleanup')).stdout).toContain(id);
    await until('all are gone', () => processesWith(mark).length === 0);
    expect([engine.states(), engine.containers()]).toEqual([[], []]);
    expect(cgroups()).not.toContain(id);
  });

  test('the calls are the same as in a container, but for the walls', async () => {
    const calls = async (...options: string[]) => {
      const { stdout } = await engine.run('explain', '--format', 'json', 'run', ...options, image, 'true');
      const { steps } = JSON.parse(stdout) as { steps: { id: string }[] };
      return steps.map(({ id }) => id);
    };
    expect(await calls('--isolation', 'container')).toEqual(await calls());
    const walls = (await calls()).filter((id) => !/^(seccomp|paths\.|host\.devices|capabilities\.bounding)/.test(id));
    const open = (await calls('--isolation', 'namespaces')).filter(
      (id) => !/^(paths\.mask|capabilities\.bounding)/.test(id),
    );
    expect(open).toEqual(walls);
    const chroot = await calls('--isolation', 'chroot');
    expect(chroot).toContain('rootfs.chroot');
    expect(chroot).not.toContain('rootfs.pivot');
  });

  test.each([['run', '-d'], ['create']])('%s: a rung is no container that lives on', async (...words) => {
    const before = engine.containers();
    const { code, stdout, stderr } = await engine.run(...words, '--isolation', 'chroot', image, 'true');
    expect({ code, stdout }).toEqual({ code: 125, stdout: '' });
    expect(stderr).toContain('--isolation is for a command that somebody looks at');
    expect(engine.containers()).toEqual(before);
  });

  test('an option that would be another rung’s wall is an error, and nothing is done', async () => {
    const { code, stdout, stderr } = await runProgram(engine.command[0]!, [
      ...engine.command.slice(1),
      ...['run', '--isolation', 'chroot', '--memory', '64m', '--hostname', 'x', '--cap-drop', 'all', image, 'true'],
    ]);
    expect({ code, stdout }).toEqual({ code: 125, stdout: '' });
    expect(stderr.split('\n').filter(Boolean)).toEqual([
      expect.stringContaining('--memory means nothing with --isolation=chroot'),
      expect.stringContaining('--cap-drop means nothing'),
      expect.stringContaining('--hostname means nothing'),
    ]);
    expect(engine.containers()).toEqual([]);
  });
});
