/** SCMP_ACT_NOTIFY: calls of the container answered by an agent, which is sent the listener of the filter. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Seccomp, Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { checkout, until } from '../support/tinyctr.ts';
import { differs, ours, Runtime, runtimes } from './oci-support.ts';

const ENOMEDIUM = 123;
const refused = /No medium found/;
const mkdir = 'mkdir /dev/shm/made';
/** arm64 has no mkdir(2). */
const names = ['mkdir', 'mkdirat'];

interface Agent {
  path: string;
  process: ChildProcess;
  /** What it was sent. */
  states: () => Record<string, unknown>[];
  calls: () => number;
  /** How many listeners have come to their end. */
  ended: () => number;
}

describe.each(runtimes)('%s', needs({ root: true, command: 'python3' }), (name) => {
  let oci: Runtime;
  const agents: Agent[] = [];

  beforeAll(async () => {
    oci = await Runtime.prepare(name);
  });

  afterEach(async () => {
    await oci.deleteAll();
    for (const { process, path } of agents.splice(0)) {
      process.kill('SIGKILL');
      rmSync(path, { force: true });
    }
  });

  afterAll(() => oci.end());

  async function agent(answer: number | 'continue'): Promise<Agent> {
    const path = `${oci.folder}/agent`;
    const program = [`${checkout}/test/support/seccomp-agent.py`, path, String(answer)];
    const child = spawn('python3', program, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (bytes: Buffer) => {
      output += bytes;
    });
    const lines = (pattern: RegExp) => output.split('\n').filter((line) => pattern.test(line));
    const states = () => lines(/^\{/).map((line) => JSON.parse(line) as Record<string, unknown>);
    const made = {
      path,
      process: child,
      states,
      calls: () => lines(/^call/).length,
      ended: () => lines(/^end/).length,
    };
    agents.push(made);
    await until('the agent', () => output.startsWith('listening'));
    return made;
  }

  const profile = (path: string, more: Partial<Seccomp> = {}): Seccomp => ({
    defaultAction: 'SCMP_ACT_ALLOW',
    listenerPath: path,
    syscalls: [{ names, action: 'SCMP_ACT_NOTIFY' }],
    ...more,
  });

  const bundle = (script: string, seccomp: Seccomp, change: (spec: Spec) => void = () => {}) =>
    oci.bundle(script, (spec) => {
      spec.linux!.seccomp = seccomp;
      change(spec);
    });

  /** Of all processes in the container's pid namespace: none may answer for itself. */
  function listenersOf(pid: number): string[] {
    return readdirSync(`/proc/${pid}/fd`)
      .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
      .filter((link) => !/^(pipe:|socket:\[|\/)/.test(link));
  }

  test.each([true, false])('run: the agent answers, no_new_privs %s', async (noNewPrivileges) => {
    const { path, states, calls, ended } = await agent(ENOMEDIUM);
    const folder = bundle(
      `${mkdir}; ls -l /proc/self/fd`,
      profile(path, { listenerMetadata: 'for the agent' }),
      (spec) => {
        spec.process!.noNewPrivileges = noNewPrivileges;
        spec.annotations = { 'org.example': 'note' };
      },
    );
    const { code, stdout, stderr } = await oci.run(folder, 'answered');
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(refused) });
    expect(stdout).not.toMatch(/seccomp|socket/);
    expect(calls()).toBe(1);
    expect(states()).toEqual([
      {
        ociVersion: expect.stringMatching(/^1\./),
        fds: ['seccompFd'],
        pid: expect.any(Number),
        metadata: 'for the agent',
        state: {
          ociVersion: expect.stringMatching(/^1\./),
          id: 'answered',
          status: expect.stringMatching(/^creat(ed|ing)$/),
          pid: states()[0]!.pid,
          bundle: folder,
          annotations: { 'org.example': 'note' },
        },
        kind: 'anon_inode:seccomp notify',
      },
    ]);
    await until('the end of the listener: nobody holds the filter', () => ended() === 1);
  });

  test('run: what the agent lets happen happens', async () => {
    const { path, calls } = await agent('continue');
    const { code, stdout } = await oci.run(bundle(`${mkdir} && ls /dev/shm`, profile(path)), 'let');
    expect({ code, stdout, calls: calls() }).toEqual({ code: 0, stdout: 'made\n', calls: 1 });
  });

  test.each(['host', 'new'])(
    'create and start, user namespace: %s; nobody but the agent has the listener',
    async (user) => {
      const { path, states, ended } = await agent(ENOMEDIUM);
      const folder = bundle(`${mkdir}; exec sleep 100`, profile(path), (spec) => {
        if (user === 'host') return;
        const ids = [{ containerID: 0, hostID: 0, size: 65_536 }];
        spec.linux!.namespaces!.push({ type: 'user' });
        Object.assign(spec.linux!, { uidMappings: ids, gidMappings: ids });
      });
      const created = await oci.create(folder, 'made', '--pid-file', `${folder}/pid`);
      expect(created.code, created.output()).toBe(0);
      const pid = Number(readFileSync(`${folder}/pid`, 'utf8'));
      expect(await oci.call('start', 'made')).toMatchObject({ code: 0, stderr: '' });
      await until('the answer', () => refused.test(created.output()));
      expect(states()).toMatchObject([{ pid, state: { id: 'made', pid } }]);
      await until('sleep', () => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep'));
      expect(listenersOf(pid)).toEqual([]);
      await oci.call('delete', '--force', 'made');
      await until('the end of the listener', () => ended() === 1);
    },
  );

  test('exec: a listener of its own, with the pid of the process', async () => {
    const { path, states } = await agent(ENOMEDIUM);
    const folder = bundle('exec sleep 100', profile(path));
    await oci.create(folder, 'there');
    await oci.call('start', 'there');
    const { code, stderr } = await oci.call('exec', 'there', 'sh', '-c', mkdir);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(refused) });
    const [first, second] = states() as { pid: number; state: { pid: number; status: string } }[];
    expect(second).toMatchObject({ state: { id: 'there', status: 'running', pid: first!.pid } });
    expect(second!.pid).not.toBe(first!.pid);
    const file = `${folder}/exec-pid`;
    await oci.call('exec', '--detach', '--pid-file', file, 'there', 'sh', '-c', 'exec sleep 50 >/dev/null 2>&1');
    expect(listenersOf(Number(readFileSync(file, 'utf8')))).toEqual([]);
    await until('the third', () => states().length === 3);
  });

  test('a program outlives its agent: ENOSYS', async () => {
    const { path, process } = await agent('continue');
    const folder = bundle(
      `${mkdir}; while [ ! -e /dev/shm/go ]; do sleep 0.05; done; mkdir /dev/shm/late`,
      profile(path),
    );
    const created = await oci.create(folder, 'alone');
    await oci.call('start', 'alone');
    await oci.call('exec', 'alone', 'ls', '/dev/shm/made');
    process.kill('SIGKILL');
    await new Promise((resolve) => process.once('close', resolve));
    const pid = JSON.parse((await oci.call('state', 'alone')).stdout).pid;
    (await import('node:fs')).writeFileSync(`/proc/${pid}/root/dev/shm/go`, '');
    await until('its word', () => /Function not implemented/.test(created.output()));
  });

  test('nobody listens: an error, and nothing is left', async () => {
    const { path, process } = await agent(ENOMEDIUM);
    process.kill('SIGKILL');
    await new Promise((resolve) => process.once('close', resolve));
    for (const [at, words] of [
      [path, /nobody listens at the seccomp agent's socket|failed to connect with seccomp agent/],
      [`${path}-not`, /nobody listens at the seccomp agent's socket .*-not: there is no socket|failed to connect/],
    ] as const) {
      const { code, stdout, stderr } = await oci.run(bundle('echo ran', profile(at)), 'nobody');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(words);
      expect(await oci.status('nobody')).toContain('container does not exist');
    }
  });

  test.each([
    [{ defaultAction: 'SCMP_ACT_NOTIFY' }, /SCMP_ACT_NOTIFY/],
    [{ listenerPath: '' }, /listenerPath/],
  ])('%j is refused', async (more, words) => {
    const { path, states } = await agent('continue');
    const { code, stdout, stderr } = await oci.run(bundle('echo ran', profile(path, more)), 'refused');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(words);
    expect(states()).toEqual([]);
  });

  test('listenerPath without a rule for the agent: it is not asked', async () => {
    const { path, states } = await agent('continue');
    const plain = { ...profile(path), syscalls: [{ names, action: 'SCMP_ACT_ERRNO' }] };
    expect((await oci.run(bundle('echo ran', plain), 'unasked')).stdout).toBe('ran\n');
    expect(states()).toEqual([]);
  });

  const early = differs(name, 'seccomp-agent-early');

  test('the calls on the way to the program may be the agent’s, write too', early, async () => {
    const { path, calls } = await agent('continue');
    const all = ['execve', 'capset', 'prctl', 'write', 'close', 'mkdir'];
    const flags = ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG'];
    const syscalls = [{ names: all, action: 'SCMP_ACT_NOTIFY' }];
    const folder = bundle('echo ran', profile(path, { syscalls, flags }), (spec) => {
      spec.process!.noNewPrivileges = false;
    });
    expect(await oci.run(folder, 'way')).toMatchObject({ code: 0, stdout: 'ran\n', stderr: '' });
    expect(calls()).toBeGreaterThan(3);
  });

  describe('only tinyctr-oci', ours(name, 'its own checks, hooks and flags'), () => {
    test('sendmsg can’t be the agent’s, metadata is for one', async () => {
      const { path } = await agent('continue');
      const syscalls = [{ names: ['recvmsg', 'sendmsg'], action: 'SCMP_ACT_NOTIFY' }];
      const { code, stderr } = await oci.run(bundle('true', profile(path, { syscalls })), 'refused');
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/\/syscalls\/0\/names\/1 is sendmsg/),
      });
      const lonely = { defaultAction: 'SCMP_ACT_ALLOW', listenerMetadata: 'x' };
      expect((await oci.run(bundle('true', lonely), 'refused')).stderr).toMatch(/\/linux\/seccomp\/listenerMetadata/);
    });

    test.each(['run', 'start'])('%s: a profile that does not let sendmsg through says so', async (verb) => {
      const { path, states } = await agent('continue');
      const syscalls = [...profile(path).syscalls!, { names: ['sendmsg'], action: 'SCMP_ACT_ERRNO' }];
      const folder = bundle('echo ran', profile(path, { syscalls }));
      const words = verb === 'run' ? ['run', '--bundle', folder, 'through'] : ['start', 'through'];
      if (verb === 'start') expect((await oci.create(folder, 'through')).code).toBe(0);
      const { code, stdout, stderr } = await oci.call(...words);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(/the seccomp profile must let sendmsg through/);
      expect(states()).toEqual([]);
    });

    test('start without an agent changes nothing: it can be called again', async () => {
      const first = await agent(ENOMEDIUM);
      const folder = bundle(mkdir, profile(first.path));
      const created = await oci.create(folder, 'again');
      first.process.kill('SIGKILL');
      await new Promise((resolve) => first.process.once('close', resolve));
      const { code, stderr } = await oci.call('start', 'again');
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/nobody listens/) });
      expect(await oci.status('again')).toBe('created');
      rmSync(first.path);
      await agent(ENOMEDIUM);
      expect(await oci.call('start', 'again')).toMatchObject({ code: 0 });
      await until('the answer', () => refused.test(created.output()));
    });

    test('a startContainer hook has the filter, and a listener of its own', async () => {
      const { path, states } = await agent(ENOMEDIUM);
      const hook = { path: '/bin/sh', args: ['sh', '-c', `${mkdir} 2>/dev/null || exit 0; exit 9`] };
      const folder = bundle(mkdir, profile(path), (spec) => {
        spec.hooks = { startContainer: [hook] };
      });
      expect(await oci.run(folder, 'hooked')).toMatchObject({ code: 1, stderr: expect.stringMatching(refused) });
      await oci.create(folder, 'hooked');
      expect(await oci.call('start', 'hooked')).toMatchObject({ code: 0, stderr: '' });
      await until('four listeners', () => states().length === 4);
      const [own, main] = states() as { pid: number; state: { pid: number } }[];
      expect(own!.pid).not.toBe(main!.pid);
      expect(own!.state.pid).toBe(main!.pid);
    });

    test('SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV', async () => {
      const { path, calls } = await agent(ENOMEDIUM);
      const flags = ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'];
      expect((await oci.run(bundle(mkdir, profile(path, { flags })), 'flag')).stderr).toMatch(refused);
      expect(calls()).toBe(1);
    });

    test('a start that is killed leaves no program that waits for an answer', async () => {
      const { path } = await agent(ENOMEDIUM);
      for (const afterMs of [20, 35, 50]) {
        await oci.create(bundle(mkdir, profile(path)), 'killed');
        const child = spawn(oci.command[0]!, [...oci.command.slice(1), 'start', 'killed'], { stdio: 'ignore' });
        setTimeout(() => child.kill('SIGKILL'), afterMs);
        await new Promise((resolve) => child.once('exit', resolve));
        if ((await oci.status('killed')) === 'created') await oci.call('start', 'killed');
        await oci.untilStatus('killed', 'stopped');
        expect(await oci.call('delete', 'killed')).toMatchObject({ code: 0, stderr: '' });
        expect(existsSync(`${oci.root}/killed`)).toBe(false);
      }
    });
  });
});
