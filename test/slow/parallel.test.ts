/** Many commands at once: fifty runs, and start, stop, kill and rm of one container. Each ends, and afterwards ps, the disk and the kernel agree. */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { cgroups, Engine, mountsBelow, processesWith, readIfThere, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '3000';
  engine = await new Engine().prepare();
});
afterEach(async () => {
  if (engine.containers().length > 0) await engine.run('rm', '-f', ...engine.containers());
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);

/** What ps says of a container is what is on disk and in the kernel. Returns its status, '' if it is gone. */
async function legalState(id: string): Promise<string> {
  const row = (await must('ps', '-a', '--no-trunc', '--format', 'json')).split('\n').find((line) => line.includes(id));
  const status = row === undefined ? '' : (JSON.parse(row) as { State: string }).State;
  const isRunning = status === 'running';
  const inCgroup = readIfThere(`${cgroupRoot()}/tinyctr/${id}/cgroup.procs`);
  expect({
    id,
    status,
    state: existsSync(`${engine.runRoot}/${id}`),
    cgroup: cgroups().includes(id),
    processes: inCgroup !== '',
  }).toEqual({
    ...{ id, status, state: isRunning, cgroup: isRunning, processes: isRunning },
  });
  const there = status !== '';
  expect(engine.containers().includes(id)).toBe(there);
  if (there) {
    const { State } = (JSON.parse(await must('inspect', id)) as { State: { Pid: number; Running: boolean } }[])[0]!;
    expect(State.Running).toBe(isRunning);
    if (isRunning) expect(readFileSync(`/proc/${State.Pid}/cgroup`, 'utf8')).toContain(id);
    expect(['created', 'running', 'exited']).toContain(status);
  }
  return status;
}

describe('at once', needs({ root: true }), () => {
  test('fifty run --rm: each with its own output and exit status, and nothing is left', {
    timeout: 120_000,
  }, async () => {
    const mark = `TINYCTR_PARALLEL=${process.pid}`;
    const mounts = mountsBelow(engine.folder);
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        engine.shell(`echo out ${i} $(hostname); echo err ${i} >&2; exit ${i}`, '-e', mark),
      ),
    );
    const ids = results.map(({ code, stdout, stderr }, i) => {
      expect({ i, code, stdout, stderr }).toEqual({
        ...{ i, code: i, stdout: expect.stringMatching(`^out ${i} [0-9a-f]{12}\n$`), stderr: `err ${i}\n` },
      });
      return stdout.trim().split(' ')[2]!;
    });
    expect(new Set(ids).size).toBe(50);
    expect({ containers: engine.containers(), states: engine.states(), processes: processesWith(mark) }).toEqual({
      ...{ containers: [], states: [], processes: [] },
    });
    expect(cgroups().filter((name) => ids.includes(name.slice(0, 12)))).toEqual([]);
    expect(mountsBelow(engine.folder)).toEqual(mounts);
  });

  test('eight each of start, stop and kill of one container, in rounds', { timeout: 120_000 }, async () => {
    const id = await must(
      'create',
      '--name',
      'one',
      'busybox',
      'sh',
      '-c',
      'trap "exit 3" TERM; while :; do sleep 0.05; done',
    );
    for (let round = 0; round < 2; round++) {
      const calls = Array.from({ length: 8 }).flatMap(() => [
        engine.run('start', 'one'),
        engine.run('stop', '-t', '0', 'one'),
        engine.run('kill', 'one'),
      ]);
      for (const { code, signal, stderr } of await Promise.all(calls)) {
        expect(signal).toBeNull();
        if (code !== 0) expect(stderr).toMatch(/is not running|can't be started|ended before/);
      }
      await until('nothing is under way', () => engine.states().every((name) => /^[0-9a-f]{64}$/.test(name)), 30_000);
      await legalState(id);
    }
    await must('start', 'one');
    expect(await legalState(id)).toBe('running');
    await must('stop', '-t', '0', 'one');
    expect(await legalState(id)).toBe('exited');
  });

  test('start, stop, rm and rm -f of one container, in rounds: it is whole, or gone', {
    timeout: 120_000,
  }, async () => {
    for (let round = 0; round < 3; round++) {
      const id = await must('create', '--name', 'one', 'busybox', 'sleep', '1000');
      const calls = Array.from({ length: 4 }).flatMap((_, i) => [
        engine.run('start', id),
        engine.run('stop', '-t', '0', id),
        engine.run('rm', id),
        ...(round === 2 || i > 0 ? [] : [engine.run('rm', '-f', id)]),
      ]);
      for (const { code, signal, stderr } of await Promise.all(calls)) {
        expect(signal).toBeNull();
        if (code !== 0)
          expect(stderr).toMatch(/no such container|is running|is being started|can't be started|ended before/i);
      }
      if ((await legalState(id)) !== '') expect(await must('rm', '-f', id)).toBe(id);
      expect(await legalState(id)).toBe('');
      expect(engine.states()).toEqual([]);
    }
  });
});
