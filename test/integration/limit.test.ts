/** `tinyctr limit` where no controller is needed: the cgroup itself, the command's life and end, device rules, and what is left. */
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { Pty } from '../support/pty.ts';
import { cgroups, checkout, Engine, runProgram, until } from '../support/tinyctr.ts';

describe('tinyctr limit', needs({ root: true }), () => {
  let engine: Engine;
  beforeAll(() => {
    engine = new Engine();
  });
  afterAll(() => {
    expect(engine.states()).toEqual([]);
    engine.remove();
  });

  const limits = () => cgroups().filter((name) => name.startsWith('limit-'));

  it('starts the command in a cgroup of its own, in the caller’s namespaces, environment and folder', async () => {
    const script = 'tail -n 1 /proc/self/cgroup; readlink /proc/self/ns/mnt /proc/self/ns/pid; echo $LESSON $PWD; cat';
    const { stdout, stderr, code } = await engine.runWith(
      { input: 'typed', env: { LESSON: 'one' }, cwd: '/usr' },
      ...['limit', '--', 'sh', '-c', script],
    );
    const [cgroup, ...rest] = stdout.split('\n');
    expect(cgroup, stderr).toMatch(/^0::\/tinyctr\/limit-[0-9a-f]{12}$/);
    const own = ['mnt', 'pid'].map((name) => readlinkSync(`/proc/self/ns/${name}`));
    expect(rest).toEqual([...own, 'one /usr', 'typed']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(existsSync(`${cgroupRoot()}${cgroup!.slice(3)}`)).toBe(false);
  });

  it.each([
    [['sh', '-c', 'exit 3'], 3],
    [['sh', '-c', 'kill -TERM $$'], 143],
    [['sh', '-c', 'kill -KILL $$'], 137],
    [['/etc/passwd'], 126],
    [['/'], 126],
    [['no-such-command'], 127],
    [['/no/such/command'], 127],
  ])('%j ends with %d', async (command, wanted) => {
    const { code } = await engine.run('limit', '--', ...command);
    expect(code).toBe(wanted);
    expect(engine.states()).toEqual([]);
  });

  it.each([
    [['--memory', '1'], 'at least 6m'],
    [['--cpus', '1', '--cpu-quota', '1000'], 'exclude each other'],
    [['--oom-kill-disable'], 'is of cgroup v1'],
    [['--cgroup-parent', '/a/../b'], 'is not a path below the root'],
  ])('refuses %j and changes nothing', async (options, text) => {
    const before = limits();
    const { code, stdout, stderr } = await engine.run('limit', ...options, '--', 'echo', 'ran');
    expect({ code, stdout }).toEqual({ code: 125, stdout: '' });
    expect(stderr).toContain(text);
    expect(limits()).toEqual(before);
  });

  it('tells why a script can’t be executed, as a container does', async () => {
    writeFileSync(`${engine.folder}/crlf`, '#!/bin/sh\r\necho\r\n', { mode: 0o755 });
    const { code, stderr } = await engine.run('limit', `${engine.folder}/crlf`);
    expect(code).toBe(127);
    expect(stderr).toContain('CRLF');
  });

  it('prints path and files with -v, and what was used at the end', async () => {
    const { stdout, stderr } = await engine.run(
      ...['limit', '-v', '--cgroup-parent', '/tinyctr/lesson', '--device-cgroup-rule', 'c 10:229 rw'],
      ...['--', 'sh', '-c', 'echo; sleep 1000 &'],
    );
    rmdirSync(`${cgroupRoot()}/tinyctr/lesson`); // a parent stays
    expect(stdout).toBe('\n');
    expect(stderr).toMatch(/^tinyctr: cgroup \/sys\/fs\/cgroup\/.*\/tinyctr\/lesson\/limit-[0-9a-f]{12}$/m);
    expect(stderr).toContain('eBPF program      allow read, write: character device 10:229');
    expect(stderr).toContain('one process that the command left behind ended with the cgroup');
    expect(stderr).toMatch(/^tinyctr: used: \d+\.\d\d s of CPU time/m);
  });

  it('keeps devices from the command with --device-cgroup-rule, and only then', async () => {
    const script = 'head -c 1 /dev/loop-control; echo; head -c 3 /dev/zero | wc -c';
    const free = await engine.run('limit', '--', 'sh', '-c', script);
    const ruled = await engine.run('limit', '--device-cgroup-rule', 'c 99:99 r', '--', 'sh', '-c', script);
    expect(free.stderr).not.toContain('Operation not permitted');
    expect(ruled.stderr).toContain('Operation not permitted');
    expect(ruled.stdout).toContain('3');
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGUSR1'] as const)('passes %s on', async (signal) => {
    const name = signal.slice(3);
    const script = `trap 'echo got ${name}; exit 5' ${name}; echo ready; while :; do sleep 0.1; done`;
    const { stdout, code } = await engine.runWith(
      {
        onStdout: (text, child) => {
          if (text === 'ready\n') child.kill(signal);
        },
      },
      ...['limit', '--', 'sh', '-c', script],
    );
    expect({ stdout, code }).toEqual({ stdout: `ready\ngot ${name}\n`, code: 5 });
  });

  it('killed with -9, it leaves what the next command finds and removes', async () => {
    const child = engine.spawn('limit', '--', 'sh', '-c', 'setsid sleep 1000 & wait');
    const started = () => engine.states().length === 1 && limits().includes(engine.states()[0]!);
    await until('the command runs', () => started() && procs(engine.states()[0]!).length >= 2, 20_000);
    const name = engine.states()[0]!;
    child.kill('SIGKILL');
    await until('the supervisor is gone', () => child.signalCode === 'SIGKILL');
    expect(limits()).toContain(name);
    const { stdout, code } = await engine.run('cleanup');
    expect(code).toBe(0);
    for (const kind of ['cgroup', 'state']) expect(stdout).toMatch(new RegExp(`^${kind} +\\S+/${name}: removed`, 'm'));
    expect(limits()).not.toContain(name);
  });

  const procs = (name: string) => {
    const path = `${cgroupRoot()}/tinyctr/${name}`;
    return existsSync(path) ? readFileSync(`${path}/cgroup.procs`, 'utf8').split('\n').filter(Boolean) : [];
  };

  it('E8: a sub-tree that was handed over is closed to who runs outside of it; the hint is the way in', async () => {
    const top = `${cgroupRoot()}/tinyctr-test-limit-${process.pid}`;
    mkdirSync(top);
    const folder = mkdtempSync('/tmp/tinyctr-user-');
    for (const path of [top, `${top}/cgroup.procs`, folder]) chownSync(path, 12345, 12345);
    const asUser = 'setpriv --reuid=12345 --regid=12345 --clear-groups';
    const limit = `${asUser} ${checkout}/bin/tinyctr --run-root ${folder}/run limit --cgroup-parent ${top.slice(cgroupRoot().length)}/mine`;
    const script = `${limit} -- true 2> ${folder}/error; echo $?; ls ${top}/mine | grep limit-
      eval "$(sed -n 's/.*moved this shell there: //p' ${folder}/error)"; echo moved $?
      ${limit} -- tail -n 1 /proc/self/cgroup`;
    const { stdout, stderr } = await runProgram('sh', ['-c', script]);
    const told = readFileSync(`${folder}/error`, 'utf8');
    for (const each of ['shell', 'mine', '']) rmdirSync(`${top}/${each}`);
    rmSync(folder, { recursive: true });
    expect(told).toMatch(/no process may be started in the cgroup \S+\/mine\/limit-\w+: .* belongs to uid 0$/m);
    expect(stdout, told + stderr).toMatch(/^125\nmoved 0\n0::\S+\/mine\/limit-\w+\n$/);
  });

  it('removes cgroups that the command made in its own', async () => {
    const script = `d=${cgroupRoot()}$(sed -n 's/^0:://p' /proc/self/cgroup); mkdir -p $d/a/b; sleep 1000 & echo $! > $d/a/b/cgroup.procs; echo $d`;
    const { stdout, stderr } = await engine.run('limit', '--', 'sh', '-c', script);
    expect(existsSync(stdout.trim()), stderr).toBe(false);
    expect(stderr).toContain('one process that the command left behind');
  });

  it('at a terminal, Ctrl-C reaches the command once', async () => {
    const script =
      'n=0; trap "n=\\$((n + 1)); echo got" INT; echo ready; while [ $n = 0 ]; do sleep 0.1; done; sleep 1; echo n $n';
    const pty = new Pty([...engine.command, 'limit', '--', 'sh', '-c', script]);
    await pty.shows(/ready/);
    pty.type('\x03');
    await pty.shows(/n 1\r/);
    expect(await pty.ended).toBe(0);
    expect(pty.settingsAfter).toBe(pty.settings);
  });
});
