/** ps, inspect, stop, kill and rm go by what is true in the kernel: whatever was killed from outside, and whatever a file says of pids. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { cgroups, Engine, processesWith, readIfThere, until } from '../support/tinyctr.ts';

let engine: Engine;
/** A process that is none of tinyctr's business; it says when it gets a signal. */
let foreign: ChildProcess;
let said = '';
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '3000';
  engine = await new Engine().prepare();
  foreign = spawn('sh', [
    '-c',
    'trap "echo signalled" TERM INT HUP USR1; trap "echo asked" USR2; echo ready; while :; do sleep 0.1; done',
  ]);
  foreign.stdout!.on('data', (text) => {
    said += text;
  });
  await until('it is ready', () => said === 'ready\n', 30_000);
  said = '';
});
afterEach(async () => {
  if (engine.containers().length > 0) await engine.run('rm', '-f', ...engine.containers());
});
afterAll(async () => {
  foreign.kill('SIGKILL');
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
interface State {
  Status: string;
  Running: boolean;
  Pid: number;
  ExitCode: number;
}
const stateOf = async (name: string) => (JSON.parse(await must('inspect', name)) as { State: State }[])[0]!.State;
const stateFile = (id: string) => `${engine.runRoot}/${id}/state.json`;
const change = (id: string, more: object) =>
  writeFileSync(stateFile(id), JSON.stringify({ ...JSON.parse(readFileSync(stateFile(id), 'utf8')), ...more }));
const supervisor = async () =>
  (JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number; keeperPid: number } }).supervisor;

/** Sends SIGKILL to a process that is this test's own, as its command line or its cgroup proves. */
function killOwn(pid: number, file: 'cmdline' | 'cgroup', proof: string): void {
  expect(pid).toBeGreaterThan(1);
  expect(readFileSync(`/proc/${pid}/${file}`, 'utf8')).toContain(proof);
  process.kill(pid, 'SIGKILL');
}

describe('killed from outside', needs({ root: true }), () => {
  test('the first process: its end is told as soon as it is one, with its status', async () => {
    const id = await must('run', '-d', 'busybox', 'sleep', '1000');
    const { Pid } = await stateOf(id);
    killOwn(Pid, 'cgroup', id);
    await until('the kernel has it as dead', () => !/^State:\s+[RSD]/m.test(statusOf(Pid)), 30_000);
    expect(await must('ps', '-q')).toBe('');
    expect(await must('wait', id)).toBe('137');
    expect(await stateOf(id)).toMatchObject({ Status: 'exited', Running: false, Pid: 0, ExitCode: 137 });
    expect(cgroups()).not.toContain(id);
  });

  test('while the supervisor stands still: ps does not show what is dead as running', async () => {
    const id = await must('run', '-d', 'busybox', 'sleep', '1000');
    const { Pid } = await stateOf(id);
    const { pid } = await supervisor();
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain(engine.runRoot);
    process.kill(pid, 'SIGSTOP');
    try {
      killOwn(Pid, 'cgroup', id);
      await until('it is dead', () => !/^State:\s+[RSD]/m.test(statusOf(Pid)), 30_000);
      expect(await must('ps', '-q')).toBe('');
      expect(await stateOf(id)).toMatchObject({ Status: 'exited', Running: false, Pid: 0 });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await must('wait', id)).toBe('137');
    expect(await must('ps', '-a')).toContain('Exited (137)');
  });

  test('the keeper, the supervisor and the container at once: the next command knows', async () => {
    const ids = [
      await must('run', '-d', 'busybox', 'sleep', '1000'),
      await must('run', '-d', 'busybox', 'sleep', '1000'),
    ];
    const pids = await Promise.all(ids.map(async (id) => (await stateOf(id)).Pid));
    const { pid, keeperPid } = await supervisor();
    killOwn(pids[0]!, 'cgroup', ids[0]!);
    killOwn(keeperPid, 'cmdline', `keeper\0${engine.runRoot}`);
    if (readIfThere(`/proc/${pid}/cmdline`).includes(engine.runRoot)) process.kill(pid, 'SIGKILL'); // it ends without its keeper
    await until('all are gone', () => [pid, keeperPid, ...pids].every((one) => !existsSync(`/proc/${one}`)), 30_000);
    expect(await must('ps', '-q')).toBe('');
    for (const id of ids) {
      expect(await stateOf(id)).toMatchObject({ Status: 'exited', Pid: 0, ExitCode: 137 });
      expect(await must('start', id)).toBe(id);
      expect(await stateOf(id)).toMatchObject({ Status: 'running' });
    }
  });

  test('one in the foreground, and its tinyctr, while stop and wait wait for it', async () => {
    const mark = `TINYCTR_TRUTH=${process.pid}`;
    const child = engine.spawn('run', '--name', 'front', '-e', mark, 'busybox', 'sleep', '1000');
    await until('it runs', () => processesWith(mark).length === 1, 30_000);
    const waiting = engine.run('wait', 'front');
    const stopping = engine.run('stop', '-t', '1000', 'front'); // sleep as process 1 does not hear SIGTERM
    await new Promise((resolve) => setTimeout(resolve, 500)); // they may well be too late: then they find out themselves
    child.kill('SIGKILL');
    expect(await waiting).toMatchObject({ code: 0, stdout: '137\n' });
    expect(await stopping).toMatchObject({ code: 0, stdout: 'front\n' });
    expect(await stateOf('front')).toMatchObject({ Status: 'exited', Pid: 0, ExitCode: 137 });
    expect(engine.states()).toEqual([]);
  });
});

describe('a state whose pid is another process’s', needs({ root: true }), () => {
  test('of a container that runs: the truth is told, and it alone is signalled, also by a new supervisor', async () => {
    const script = 'trap "echo asked; exit 5" TERM; echo ready; while :; do sleep 0.05; done';
    const id = await must('run', '-d', 'busybox', 'sh', '-c', script);
    const { Pid } = await stateOf(id);
    await until('it is ready', () => readFileSync(log(id), 'utf8').includes('ready'), 30_000);
    change(id, { pid: foreign.pid });
    expect(await stateOf(id)).toMatchObject({ Status: 'running', Pid });
    const { pid } = await supervisor();
    killOwn(pid, 'cmdline', `tinyctr-supervisor.cjs\0${engine.runRoot}`);
    expect(await must('exec', id, 'echo', 'inside')).toBe('inside');
    expect(await must('stop', id)).toBe(id);
    expect(await must('wait', id)).toBe('5');
    expect(await isUntouched()).toBe(true);
  });

  test('of one in the foreground: neither stop, kill nor rm -f signals the foreign process', async () => {
    const mark = `TINYCTR_TRUTH=${process.pid}-2`;
    const child = engine.spawn('run', '--rm', '--name', 'front', '-e', mark, 'busybox', 'sleep', '1000');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await until('it runs', () => processesWith(mark).length === 1, 30_000);
    const [id] = engine.states();
    change(id!, { pid: foreign.pid });
    expect((await stateOf('front')).Pid).toBe(processesWith(mark)[0]);
    expect(await must('kill', '-s', 'TERM', 'front')).toBe('front');
    expect(await engine.run('stop', '-t', '1', 'front')).toMatchObject({ code: 0, stdout: 'front\n' });
    expect(await ended).toBe(137);
    expect(await isUntouched()).toBe(true);
    expect(engine.states()).toEqual([]);
  });

  test('of one that is gone: it is no container, and the foreign process is nobody’s business', async () => {
    const mark = `TINYCTR_TRUTH=${process.pid}-3`;
    const child = engine.spawn('run', '--name', 'front', '-e', mark, 'busybox', 'sleep', '1000');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await until('it runs', () => processesWith(mark).length === 1, 30_000);
    const [id] = engine.states();
    change(id!, { pid: foreign.pid });
    child.kill('SIGKILL');
    await ended;
    await until('it is gone', () => processesWith(mark).length === 0, 30_000);
    expect(await engine.run('kill', 'front')).toMatchObject({ code: 1 });
    expect(await must('ps', '-q')).toBe('');
    expect(await must('rm', '-f', 'front')).toBe('front');
    expect(await isUntouched()).toBe(true);
    expect(engine.states()).toEqual([]);
  });
});

const log = (id: string) => `${engine.root}/containers/${id}/container.log`;

/** A signal that somebody else had sent before would be told before this one, or its end. */
async function isUntouched(): Promise<boolean> {
  foreign.kill('SIGUSR2');
  await until('it has answered', () => said.includes('asked') || foreign.signalCode !== null, 30_000);
  const before = said;
  said = '';
  return before === 'asked\n';
}

const statusOf = (pid: number): string => readIfThere(`/proc/${pid}/status`);
