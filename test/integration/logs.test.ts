/** What a container wrote, by docker's options: also while it goes on writing, and while its log is rotated. */
import { appendFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Engine } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const detached = (script: string, ...options: string[]) => must('run', '-d', ...options, 'busybox', 'sh', '-c', script);

/** A container with this log, which never ran. */
async function written(...pieces: [second: number, stream: string, text: string][]): Promise<string> {
  const id = await must('create', 'busybox');
  const line = ([second, stream, log]: (typeof pieces)[number]) =>
    `${JSON.stringify({ log, stream, time: `2026-01-01T00:00:0${second}.000000000Z` })}\n`;
  writeFileSync(`${engine.root}/containers/${id}/container.log`, pieces.map(line).join(''));
  return id;
}

describe('logs', needs({ root: true }), () => {
  test('--tail counts lines, also one in pieces and one without an end', async () => {
    const id = await written(
      [1, 'stdout', 'a\n'],
      [2, 'stdout', 'b'],
      [3, 'stderr', 'x\n'],
      [4, 'stdout', 'b\n'],
      [5, 'stdout', 'c'],
    );
    const tail = async (n: string) => {
      const { stdout, stderr } = await engine.run('logs', '--tail', n, id);
      return stdout + stderr;
    };
    expect(await tail('0')).toBe('');
    expect(await tail('1')).toBe('c');
    expect(await tail('2')).toBe('cx\n');
    expect(await tail('3')).toBe('bb\ncx\n');
    expect(await tail('all')).toBe('a\nbb\ncx\n');
    expect(await tail('-1')).toBe('a\nbb\ncx\n');
    const stamped = await engine.run('logs', '-t', '--tail', '3', id);
    expect(stamped.stdout).toBe('2026-01-01T00:00:02.000000000Z bb\n2026-01-01T00:00:05.000000000Z c');
  });

  test('--since and --until: a moment, seconds since 1970, a duration', async () => {
    const id = await written([1, 'stdout', 'a\n'], [2, 'stdout', 'b\n'], [3, 'stdout', 'c\n']);
    const at = Date.parse('2026-01-01T00:00:02Z') / 1000;
    expect(await must('logs', '--since', '2026-01-01T00:00:02Z', id)).toBe('b\nc');
    expect(await must('logs', '--since', String(at), '--until', `${at}.5`, id)).toBe('b');
    expect(await must('logs', '--since', '10m', id)).toBe('');
    expect(await must('logs', '--until', '10m', '-f', id)).toBe('a\nb\nc');
    expect(await engine.run('logs', '--since', 'soon', id)).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("--since 'soon' is no time"),
    });
    expect(await engine.run('logs', '--tail', 'some', id)).toMatchObject({ code: 125 });
  });

  test('a damaged line is left out, and told', async () => {
    const id = await written([1, 'stdout', 'a\n']);
    appendFileSync(`${engine.root}/containers/${id}/container.log`, '{"log":"b\n');
    expect(await engine.run('logs', id)).toMatchObject({
      code: 0,
      stdout: 'a\n',
      stderr: 'tinyctr: one damaged line of the log is left out\n',
    });
  });

  test('a log that is rotated while it is followed: no line is lost or doubled', { timeout: 60_000 }, async () => {
    const count = 'i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.02; done';
    const id = await detached(`sleep 0.5; ${count}`, '--log-opt', 'max-size=20k', '--log-opt', 'max-file=50');
    const { stdout, stderr, code } = await engine.run('logs', '-f', id);
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(stdout).toBe(Array.from({ length: 4000 }, (_, i) => `line ${i}\n`).join(''));
  });

  test('-f --until ends then, though the container goes on', async () => {
    const id = await detached('echo a; exec sleep 1000', '--stop-timeout', '0');
    await expect.poll(() => must('logs', id), { timeout: 30_000 }).toBe('a');
    const soon = new Date(Date.now() + 1000).toISOString();
    expect(await engine.run('logs', '-f', '--until', soon, id)).toMatchObject({ code: 0, stdout: 'a\n' });
    await must('rm', '-f', id);
  });

  test('--details is refused; what ran in the foreground kept no log, and that is said', async () => {
    expect(await engine.run('logs', '--details', 'x')).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('--details is for log drivers with details'),
    });
    await engine.run('run', '--name', 'front', 'busybox', 'echo', 'hi');
    expect(await engine.run('logs', 'front')).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('went to where it was run'),
    });
  });
});
