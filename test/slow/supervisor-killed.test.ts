/**
 * kill -9 of the supervisor at each of its system calls that changes something, from the request of `run -d` to the end that is
 * written down: the container's status and every line of its output are there, or it did not get to run; and nothing is left.
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nativeFolder } from '../../src/core/host/syscall.ts';
import { readSteps, type Step } from '../support/killed.ts';
import { needs } from '../support/need.ts';
import { cgroups, checkout, Engine, mountsBelow, readIfThere, until } from '../support/tinyctr.ts';

const PATIENCE_MS = 45_000;
/** Of a few hundred, at even distances. */
const STEPS = 24;

describe('kill -9 of the supervisor at each step', needs({ root: true, command: 'strace' }), () => {
  let engine: Engine;
  beforeAll(async () => {
    process.env.TINYCTR_SUPERVISOR_IDLE_MS = '200';
    engine = await new Engine().prepare();
    await engine.must('rm', await engine.must('run', '-d', 'busybox', 'true').then(ended)); // makes what stays
    await engine.quiet();
  });
  afterAll(async () => {
    await engine.quiet();
    engine.remove();
    delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
  });

  async function ended(id: string): Promise<string> {
    await engine.must('wait', id);
    return id;
  }

  /** A keeper whose first supervisor runs under strace; -D: its parent is the keeper all the same. */
  async function keeper(straceWords: string): Promise<number> {
    const script = `${engine.folder}/supervisor`;
    const once = `${engine.folder}/once`;
    rmSync(once, { force: true });
    const node = `${process.execPath} ${checkout}/dist/tinyctr-supervisor.cjs`;
    writeFileSync(
      script,
      `#!/bin/sh\nif ( set -C; : > ${once} ) 2> /dev/null; then exec strace -D -qq ${straceWords} ${node} "$@"; fi\nexec ${node} "$@"\n`,
    );
    chmodSync(script, 0o700);
    const log = openSync(`${engine.folder}/keeper.log`, 'a');
    const child = spawn(`${nativeFolder}/keeper`, [engine.runRoot, script, engine.runRoot, engine.root], {
      detached: true,
      stdio: ['ignore', log, log],
    });
    child.unref();
    await until('it listens', () => existsSync(`${engine.runRoot}/.supervisor.sock`), PATIENCE_MS);
    return child.pid!;
  }

  const script = 'i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); done; sleep 0.2; echo last; exit 7';
  const expected = `${Array.from({ length: 30 }, (_, i) => `line ${i}\n`).join('')}last\n`;

  async function record(): Promise<Step[]> {
    const file = `${engine.folder}/strace`;
    await keeper(`-y -o ${file}`);
    const id = await engine.must('run', '-d', 'busybox', 'sh', '-c', script);
    expect(await engine.must('wait', id)).toBe('7');
    await engine.must('rm', id);
    await engine.quiet();
    await until('strace has written all', () => readFileSync(file, 'utf8').includes('\nexit_group('), PATIENCE_MS);
    const steps = readSteps(readFileSync(file, 'utf8'), 'accept4(');
    return steps.slice(0, steps.findLastIndex(({ call }) => call === 'rmdir') + 1); // that of its state's folder
  }

  const left = () => ({
    states: engine.states(),
    containers: engine.containers(),
    cgroups: cgroups().filter((id) => known.has(id)),
    mounts: mountsBelow(engine.folder),
  });
  const known = new Set<string>();

  const children = (pid: number) => readIfThere(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).length;
  const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

  async function dieAt({ call, nth }: Step): Promise<void> {
    const pid = await keeper(`-o /dev/null -e trace=${call} -e inject=${call}:signal=SIGKILL:when=${nth}`);
    const { code, stdout, stderr } = await engine.run('run', '-d', 'busybox', 'sh', '-c', script);
    for (const each of engine.containers()) known.add(each);
    const [id] = engine.containers();
    if (code === 0) expect(stdout.trim()).toBe(id);
    else {
      expect(stderr).toContain('the supervisor ended before it answered');
      // Whatever became of it, it is shown, and can be started again.
      expect((await engine.must('ps', '-aq', '--no-trunc')).split('\n')).toEqual([id]);
      await engine.must('start', id!);
    }
    expect(await engine.must('wait', id!)).toBe('7');
    const logs = await engine.run('logs', id!);
    if (code === 0) expect(logs).toMatchObject({ code: 0, stdout: expected, stderr: '' });
    else expect(logs.stdout.endsWith(expected)).toBe(true);
    expect(await engine.must('ps', '-a')).toMatch(/Exited \(7\)/);
    await engine.must('rm', id!);
    expect(left()).toEqual({ states: [], containers: [], cgroups: [], mounts: [] });
    if (existsSync(`/proc/${pid}`)) {
      await until('only the supervisor is a child of the keeper', () => children(pid) <= 1, PATIENCE_MS);
      if (existsSync(`/proc/${pid}`)) expect(descriptors(pid)).toBeLessThanOrEqual(12);
    }
    await engine.quiet();
  }

  test('of run -d, up to the end that is written down', { timeout: 380_000 }, async () => {
    const steps = await record();
    expect(steps.length).toBeGreaterThan(50);
    const stride = Math.max(1, Math.floor(steps.length / STEPS));
    for (let i = stride >> 1; i < steps.length; i += stride) {
      const step = steps[i]!;
      await dieAt(step).catch((error: Error) => {
        throw new Error(`killed at ${step.call} number ${step.nth}, ${step.text}: ${error.message}`, { cause: error });
      });
    }
  });
});
