/** Containers come, run, are entered, stopped, killed and removed, again and again: afterwards the host is as it was before. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { footprint } from '../support/footprint.ts';
import { needs } from '../support/need.ts';
import { Engine, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '60000'; // the same one before and after
  engine = await new Engine().prepare();
});
afterAll(async () => {
  if (engine.containers().length > 0) await engine.run('rm', '-f', ...engine.containers());
  const { pid, keeperPid } = await pids();
  for (const each of [keeperPid, pid]) process.kill(each, 'SIGKILL');
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const pids = async () =>
  (JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number; keeperPid: number } }).supervisor;

/** One container's life, another for each `i`. */
async function live(i: number): Promise<void> {
  const options = [
    [],
    ['-i'],
    ['-t'],
    ['--init'],
    ['--log-driver', 'none'],
    ['--restart', 'always'],
    ['--userns', 'auto'],
  ][i % 7]!;
  const id = await must('run', '-d', ...options, 'busybox', 'sh', '-c', 'echo hello; while :; do sleep 0.1; done');
  expect(await must('exec', id, 'echo', 'inside')).toBe('inside');
  await must('exec', '-d', id, 'sleep', '1000');
  if (i % 2 === 0) {
    await engine.run('stop', '-t', '0', id);
    expect(await must('start', id)).toBe(id);
    await must('rename', id, `renamed-${i}`);
  } else if (i % 3 === 0) await must('kill', id);
  else {
    await must('pause', id);
    await must('unpause', id);
  }
  expect(await must('rm', '-f', id)).toBe(id);
  expect((await engine.shell('exit 3')).code).toBe(3);
  expect((await engine.run('run', '-d', '--rm', 'busybox', 'nope')).code).toBe(127);
}

describe('mounts, cgroups, processes, descriptors and files', needs({ root: true }), () => {
  test('are after fourteen lives, three at a time, what they were before', { timeout: 300_000 }, async () => {
    for (let i = 0; i < 7; i++) await live(i); // what is made once stays: folders, compiled filters, mapped layers
    const { pid, keeperPid } = await pids();
    const count = () => footprint(engine, [pid, keeperPid]);
    const before = count();
    const next = Array.from({ length: 14 }, (_, i) => i);
    const work = async () => {
      for (let i = next.shift(); i !== undefined; i = next.shift()) await live(i);
    };
    await Promise.all(Array.from({ length: 3 }, work));
    expect((await pids()).pid).toBe(pid);
    // A client's connection may be closed a moment after the client has ended.
    await until('all is as before', () => JSON.stringify(count()) === JSON.stringify(before), 30_000).catch(
      () => undefined,
    );
    expect(count()).toEqual(before);
  });
});
