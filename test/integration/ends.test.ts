/** Signals, zombies, orphans: --init reaps, stop says why it had to wait, and after the end of a container nothing of its cgroup is left. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { needs } from '../support/need.ts';
import { Engine, processesWith, readIfThere, scratch, until } from '../support/tinyctr.ts';

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
const cgroupOf = (id: string) => `${cgroupRoot()}/tinyctr/${id}`;

/** States of all processes of a container: Z is a zombie. proc_pid_stat(5). */
function statesIn(id: string): string[] {
  const pids = readIfThere(`${cgroupOf(id)}/cgroup.procs`)
    .split('\n')
    .filter(Boolean);
  return pids.flatMap((pid) => /\) (\w) /.exec(readIfThere(`/proc/${pid}/stat`))?.[1] ?? []);
}

describe('orphans', needs({ root: true }), () => {
  // Each leaves a grandchild, which ends when its parent is long gone: process 1 gets it.
  const leaveOrphans = 'for i in 1 2 3; do (sh -c "sleep 2; exit 4" &); done; exec sleep 1000';

  test('--init reaps them, in the background too; sleep as process 1 does not', async () => {
    const reaping = await must('run', '-d', '--init', 'busybox', 'sh', '-c', leaveOrphans);
    const not = await must('run', '-d', 'busybox', 'sh', '-c', leaveOrphans);
    // A zombie is in no list of a cgroup: the container's own ps sees it.
    const zombies = async (id: string) =>
      (await must('exec', id, 'sh', '-c', 'grep -hs "^State" /proc/[0-9]*/status')).split('Z (zombie)').length - 1;
    const end = Date.now() + 30_000;
    while ((await zombies(not)) < 3) expect(Date.now()).toBeLessThan(end); // all orphans have ended, and nobody cares
    while ((await zombies(reaping)) > 0) expect(Date.now()).toBeLessThan(end);
    await until('init and sleep are alone', () => statesIn(reaping).length === 2, 30_000);
  });
});

describe('stop', needs({ root: true }), () => {
  test('warns when process 1 did not hear, with what helps; and each of that helps', async () => {
    const deaf = await must('run', '-d', '--stop-timeout', '1', 'busybox', 'sleep', '1000');
    expect(await engine.run('stop', deaf)).toMatchObject({
      code: 0,
      stdout: `${deaf}\n`,
      stderr: expect.stringMatching(/did not end within 1 s and was killed\n {2}hint: .*--init.*\n?.*--stop-signal/),
    });
    for (const options of [['--init'], ['--stop-signal', 'KILL']]) {
      const id = await must('run', '-d', '--stop-timeout', '1000', ...options, 'busybox', 'sleep', '1000');
      expect(await must('stop', id)).toBe(id); // at once, and without a word
    }
  });

  test('with -t 0 nobody was asked to wait: no warning', async () => {
    const id = await must('run', '-d', 'busybox', 'sleep', '1000');
    expect(await must('stop', '-t', '0', id)).toBe(id);
  });
});

describe('the whole cgroup is gone after', needs({ root: true }), () => {
  const scripts: [string, string[]][] = [
    ['processes that were double-forked into sessions of their own', []],
    ['the same in the host’s pid namespace, where nothing but the cgroup holds them', ['--pid', 'host']],
  ];
  describe.each(scripts)('%s', (_, options) => {
    test.each([
      ['stop', ['stop', '-t', '0']],
      ['kill', ['kill']],
      ['rm -f', ['rm', '-f']],
      ['an end of its own', undefined],
    ])('%s', async (_, verb) => {
      const mark = `TINYCTR_ENDS=${process.pid}`;
      const script =
        'for i in 1 2 3; do (setsid sh -c "sleep 1000 & sleep 1000" > /dev/null 2>&1 &); done; while [ ! -e /told/end ]; do sleep 0.05; done';
      const told = scratch(engine);
      const id = await must('run', '-d', '-v', `${told}:/told`, '-e', mark, ...options, 'busybox', 'sh', '-c', script);
      const sleepers = () =>
        processesWith(mark).filter((pid) => readIfThere(`/proc/${pid}/cmdline`) === 'sleep\x001000\0');
      await until('all of them are there', () => sleepers().length === 6, 30_000);
      // Two of them in cgroups below the container's, as a program with a delegated cgroup has them.
      for (const [i, below] of ['one', 'one/two'].entries()) {
        mkdirSync(`${cgroupOf(id)}/${below}`);
        writeFileSync(`${cgroupOf(id)}/${below}/cgroup.procs`, `${sleepers()[i]}`);
      }
      if (verb) await must(...verb, id);
      else writeFileSync(`${told}/end`, '');
      await until('nothing of it is left', () => processesWith(mark).length === 0 && !existsSync(cgroupOf(id)), 30_000);
      await until('its state too', () => engine.states().length === 0, 30_000);
    });
  });
});
