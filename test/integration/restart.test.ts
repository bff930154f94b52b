/** --restart: between an end and the next start, what a killed supervisor finds again, and what comes back after a boot. */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot, killCgroup, removeCgroup } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { Engine, readIfThere, until } from '../support/tinyctr.ts';

const PATIENCE_MS = 45_000;
let engine: Engine;
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
});
afterEach(() => engine.quiet());
afterAll(() => {
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);

interface Record {
  restarts?: number;
  pauseMs?: number;
  dueMs?: number;
  boot?: string;
  ended?: { exitCode: number };
  stopped?: true;
}
const file = (id: string) => `${engine.root}/containers/${id}/container.json`;
const record = (id: string) => JSON.parse(readFileSync(file(id), 'utf8')) as Record;
const log = (id: string) => readIfThere(`${engine.root}/containers/${id}/container.log`);
const runs = (id: string) => log(id).split('run').length - 1;

/** One whose pause is a minute long: docker's longest, as if it had failed ten times. */
async function pausing(...options: string[]): Promise<string> {
  const id = await must('run', '-d', '--restart', 'always', ...options, 'busybox', 'sh', '-c', 'echo run; exit 3');
  await until('it has run twice', () => runs(id) >= 2, PATIENCE_MS);
  await must('stop', id);
  writeFileSync(
    file(id),
    JSON.stringify({ ...record(id), stopped: undefined, pauseMs: 60_000, dueMs: now() + 60_000 }),
  );
  await restartSupervisor();
  return id;
}

/** CLOCK_MONOTONIC, milliseconds. */
const now = () => Number(process.hrtime.bigint() / 1_000_000n);

async function pids(): Promise<{ pid: number; keeperPid: number }> {
  const { supervisor } = JSON.parse(await must('info', '--format', 'json')) as {
    supervisor: { pid: number; keeperPid: number };
  };
  expect(readFileSync(`/proc/${supervisor.pid}/cmdline`, 'utf8')).toContain(
    `tinyctr-supervisor.cjs\0${engine.runRoot}`,
  );
  expect(readFileSync(`/proc/${supervisor.keeperPid}/cmdline`, 'utf8')).toContain(`keeper\0${engine.runRoot}`);
  return supervisor;
}

async function killed(which: 'pid' | 'keeperPid'): Promise<void> {
  const both = await pids();
  process.kill(both[which], 'SIGKILL');
  await until('it is dead', () => !existsSync(`/proc/${both.pid}`), PATIENCE_MS);
}

/** A new one reads the records. */
async function restartSupervisor(): Promise<void> {
  await killed('pid');
  await pids();
}

const state = async (id: string) =>
  (
    JSON.parse(await must('inspect', id)) as [{ State: { Status: string; Restarting: boolean }; RestartCount: number }]
  )[0];

describe('restarting', needs({ root: true }), () => {
  test('ps, inspect, kill, exec, rm and stop of one that waits for its next start', async () => {
    const id = await pausing('--name', 'pausing');
    const count = record(id).restarts!;
    expect(count).toBeGreaterThanOrEqual(1);
    expect(await must('ps')).toMatch(/ Restarting \(3\) .* ago +pausing$/);
    expect(await must('ps', '-q', '--filter', 'status=restarting')).toBe(id.slice(0, 12));
    expect(await must('ps', '-aq', '--filter', 'status=exited')).toBe('');
    expect(await state(id)).toMatchObject({
      State: { Status: 'restarting', Restarting: true, Running: true, Pid: 0, ExitCode: 3 },
      RestartCount: count,
    });
    const refused = { code: 1, stdout: '' };
    expect(await engine.run('kill', id)).toMatchObject({
      ...refused,
      stderr: expect.stringContaining('is not running'),
    });
    expect(await engine.run('rm', id)).toMatchObject({ ...refused, stderr: expect.stringContaining('is restarting') });
    expect((await engine.run('exec', id, 'true')).code).not.toBe(0);
    await must('stop', id);
    expect(await state(id)).toMatchObject({ State: { Status: 'exited', Restarting: false }, RestartCount: count });
    expect(record(id).dueMs).toBeUndefined();
    expect(await must('rm', id)).toBe(id);
  });

  test('start of it starts now; wait waits for the end of the run that is to come', async () => {
    const id = await pausing();
    const before = runs(id);
    const waiting = must('wait', id);
    await must('start', id);
    expect(await waiting).toBe('3');
    expect(runs(id)).toBeGreaterThan(before);
    await until('its policy goes on', () => (record(id).restarts ?? 0) >= 1, PATIENCE_MS);
  });

  test('wait ends when the waiting does', async () => {
    const id = await pausing();
    const waiting = must('wait', id);
    await must('stop', id);
    expect(await waiting).toBe('3');
  });

  test('a supervisor that is killed, or has nothing else to do, keeps it waiting; without the keeper nobody does', async () => {
    const id = await pausing();
    const { pid } = await pids();
    await new Promise((resolve) => setTimeout(resolve, 1500)); // three times as long as it waits for something to do
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    const { dueMs, pauseMs } = record(id);
    process.kill(pid, 'SIGKILL');
    await until('it is dead', () => !existsSync(`/proc/${pid}`), PATIENCE_MS);
    expect((await state(id)).State.Status).toBe('restarting');
    await pids();
    expect(record(id)).toMatchObject({ dueMs, pauseMs });
    await killed('keeperPid');
    expect((await state(id)).State.Status).toBe('exited'); // and inspect has started nobody
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    await pids();
    expect((await state(id)).State.Status).toBe('restarting');
  });

  test('what is due is started, by a new supervisor as well, and its pause doubled', async () => {
    const id = await pausing();
    const before = record(id);
    writeFileSync(file(id), JSON.stringify({ ...before, pauseMs: 200, dueMs: now() - 1 }));
    const ran = runs(id);
    await restartSupervisor();
    await until('it has run again', () => runs(id) > ran && record(id).dueMs !== undefined, PATIENCE_MS);
    expect(record(id).pauseMs).toBeGreaterThanOrEqual(400);
    expect(record(id).restarts).toBeGreaterThan(before.restarts!);
  });

  test('a start that fails ends the waiting, and says why', async () => {
    const id = await pausing();
    writeFileSync(file(id), JSON.stringify({ ...record(id), image: '0'.repeat(64), dueMs: now() }));
    await restartSupervisor();
    await until('it waits no more', () => record(id).dueMs === undefined, PATIENCE_MS);
    expect((await state(id)).State.Status).toBe('exited');
    expect(readFileSync(`${engine.runRoot}/.supervisor.log`, 'utf8')).toMatch(/the image .* is gone/);
  });

  test('RestartCount is what the policy has done, and no more than it may', async () => {
    const id = await must('run', '-d', '--restart', 'on-failure:2', 'busybox', 'sh', '-c', 'echo run; exit 1');
    await until(
      'it has ended for good',
      () => runs(id) === 3 && record(id).ended !== undefined && !record(id).dueMs,
      PATIENCE_MS,
    );
    expect(await state(id)).toMatchObject({ State: { Status: 'exited', ExitCode: 1 }, RestartCount: 2 });
    await must('start', id);
    await until('it ran again', () => runs(id) >= 4, PATIENCE_MS); // it counts from the beginning
    await until('as often', () => runs(id) === 6 && record(id).ended !== undefined && !record(id).dueMs, PATIENCE_MS);
    expect((await state(id)).RestartCount).toBe(2);
  });
});

describe('after a boot', needs({ root: true }), () => {
  /** As a power failure leaves it: processes and cgroups are gone, the run root too, and the boot's id is another. */
  async function boot(): Promise<void> {
    await killed('keeperPid');
    await until('its lock is free', () => !readFileSync('/proc/locks', 'utf8').includes(lockInode()), PATIENCE_MS);
    for (const id of engine.containers()) {
      const cgroup = `${cgroupRoot()}/tinyctr/${id}`;
      killCgroup(cgroup);
      removeCgroup(cgroup);
      const { boot, ...rest } = record(id);
      writeFileSync(file(id), JSON.stringify({ ...rest, ...(boot === undefined ? {} : { boot: 'another' }) }));
    }
    rmSync(engine.runRoot, { recursive: true });
  }
  const lockInode = () => `:${statSync(`${engine.runRoot}/.supervisor.lock`).ino} `;

  test('always, unless-stopped and on-failure come back, what was stopped only with always', async () => {
    const start = async (policy: string, script: string) =>
      await must('run', '-d', '--restart', policy, 'busybox', 'sh', '-c', script);
    const sleep = 'exec sleep 1000';
    const policies = ['no', 'on-failure', 'unless-stopped', 'always'];
    const [ran, stopped] = [new Map<string, string>(), new Map<string, string>()];
    for (const policy of policies) {
      ran.set(policy, await start(policy, sleep));
      stopped.set(policy, await start(policy, sleep));
    }
    const succeeded = await start('on-failure', 'true');
    const created = await must('create', '--restart', 'always', 'busybox', 'sleep', '1000');
    expect(await must('wait', succeeded)).toBe('0');
    await must('stop', '-t', '0', ...stopped.values()).catch(() => undefined);
    await boot();
    expect(await must('ps', '-q')).toBe('');
    await pids();
    const back = [ran.get('on-failure')!, ran.get('unless-stopped')!, ran.get('always')!, stopped.get('always')!];
    await until(
      'they are back',
      () => back.every((id) => record(id).boot !== 'another' && engine.states().includes(id)),
      PATIENCE_MS,
    );
    await until('no other', () => engine.states().length === back.length, PATIENCE_MS);
    expect((await must('ps', '-q', '--no-trunc')).split('\n').sort()).toEqual(back.sort());
    expect((await state(back[0]!)).RestartCount).toBe(0);
    expect(await must('ps', '-a', '--filter', `id=${created}`)).toContain('Created');
    expect(record(stopped.get('unless-stopped')!)).toMatchObject({ stopped: true, boot: 'another' });
    // In the same boot, what is stopped stays so.
    await must('stop', '-t', '0', back[3]!);
    await restartSupervisor();
    expect(engine.states()).not.toContain(back[3]);
  });
});
