/** A container that writes a gigabyte to a rotated log as fast as it can: others are not starved, memory and disk are bounded, no line is lost in between. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Engine, until } from '../support/tinyctr.ts';

let engine: Engine;
const wanted = needs({ root: true });
beforeAll(async () => {
  if (wanted.skip) return;
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '60000'; // the same one from the beginning to the end
  engine = new Engine();
  mkdirSync(engine.root);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=0700', 'none', engine.root]);
  await engine.prepare();
});
afterAll(async () => {
  if (wanted.skip) return;
  await engine.run('rm', '-f', ...engine.containers());
  const { supervisor } = JSON.parse(await must('info', '--format', 'json')) as {
    supervisor: { pid: number; keeperPid: number };
  };
  for (const pid of [supervisor.keeperPid, supervisor.pid]) process.kill(pid, 'SIGKILL');
  execFileSync('umount', [engine.root]);
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const LINE = 1024;
const LINES = (1 << 30) / LINE;
const MAX_SIZE = 4 << 20;
const MAX_FILES = 4;

/** Proportional set size in kB; proc_pid_smaps_rollup(5). */
const pssKb = (pid: number): number =>
  Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]);

describe('a gigabyte of log', wanted, () => {
  test('written as fast as can be', { timeout: 300_000 }, async () => {
    const awk = `BEGIN { while (length(p) < ${LINE - 11}) p = p "x"; for (i = 0; i < ${LINES}; i++) printf "%09d %s\\n", i, p }`;
    const ticks = await must(
      'run',
      '-d',
      'busybox',
      'sh',
      '-c',
      'i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done',
    );
    const { pid, keeperPid } = (
      JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number; keeperPid: number } }
    ).supervisor;
    const before = { keeper: pssKb(keeperPid), supervisor: pssKb(pid) };
    const limits = ['--log-opt', `max-size=${MAX_SIZE}`, '--log-opt', `max-file=${MAX_FILES}`];
    const id = await must('run', '-d', ...limits, 'busybox', 'awk', awk);
    const runs = async () => (await must('ps', '-q', '--no-trunc')).split('\n').includes(id);
    const folder = `${engine.root}/containers/${id}`;
    const sizes = () =>
      readdirSync(folder)
        .filter((name) => name.startsWith('container.log'))
        .map((name) => statSync(`${folder}/${name}`, { throwIfNoEntry: false })?.size ?? 0);

    // While it writes: another one's lines come, can be read, and it can be entered.
    const ticked = async () => (await must('logs', ticks)).split('\n').length;
    const most = { keeper: 0, supervisor: 0, disk: 0 };
    let looks = 0;
    for (let last = await ticked(); await runs(); looks++) {
      await until(
        'another tick',
        () => readFileSync(`${engine.root}/containers/${ticks}/container.log`, 'utf8').split('\n').length - 1 > last,
        30_000,
      );
      last = await ticked();
      expect(await must('exec', ticks, 'echo', 'inside')).toBe('inside');
      most.keeper = Math.max(most.keeper, pssKb(keeperPid));
      most.supervisor = Math.max(most.supervisor, pssKb(pid));
      most.disk = Math.max(
        most.disk,
        sizes().reduce((sum, size) => sum + size, 0),
      );
    }
    expect(looks).toBeGreaterThan(2); // it was watched
    expect(most.keeper - before.keeper).toBeLessThan(1024);
    expect(most.supervisor - before.supervisor).toBeLessThan(32 << 10);
    expect(most.disk).toBeLessThan((MAX_SIZE + (1 << 20)) * MAX_FILES);

    // The last lines, whole, without a gap.
    expect(await must('wait', id)).toBe('0');
    expect(sizes()).toHaveLength(MAX_FILES);
    const lines = (await must('logs', id)).split('\n');
    expect(lines.length).toBeGreaterThan((MAX_SIZE * (MAX_FILES - 1)) / (LINE + 128));
    const wrong = lines.findIndex(
      (line, i) => line.length !== LINE - 1 || Number(line.slice(0, 9)) !== LINES - lines.length + i,
    );
    expect({ wrong, line: lines[wrong] }).toEqual({ wrong: -1, line: undefined });
    const numbers = (await must('logs', ticks)).split('\n').map((line) => Number(line.split(' ')[1]));
    expect(numbers).toEqual(numbers.map((_, i) => i));
  });
});
