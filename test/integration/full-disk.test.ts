/** A full disk: containers go on, what is lost is told, each command ends with one clear error or success, and the state is true afterwards. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { cgroups, Engine, until } from '../support/tinyctr.ts';

let engine: Engine;
const wanted = needs({ root: true });
beforeAll(async () => {
  if (wanted.skip) return;
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '3000';
  engine = new Engine();
  mkdirSync(engine.root);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=0700', 'none', engine.root]);
  await engine.prepare();
});
afterEach(async () => {
  makeRoom();
  if (engine.containers().length > 0) await engine.run('rm', '-f', ...engine.containers());
});
afterAll(async () => {
  if (!engine) return;
  await engine.quiet();
  execFileSync('umount', [engine.root]);
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const ballast = () => `${engine.root}/ballast`;
const makeRoom = () => rmSync(ballast(), { force: true });

/** Not one page is left. */
function fill(): void {
  try {
    writeFileSync(ballast(), Buffer.alloc(32 << 20), { flag: 'a' });
  } catch (error) {
    expect((error as { code?: string }).code).toBe('ENOSPC');
  }
}

const stateOf = async (name: string) =>
  (JSON.parse(await must('inspect', name)) as { State: Record<string, unknown> }[])[0]!.State;
const halfMade = () =>
  engine.containers().filter((id) => !existsSync(`${engine.root}/containers/${id}/config.json`));
const files = () => readdirSync(`${engine.root}/containers`, { recursive: true }).map(String);

/** One error that says what is wrong, and how a command's failure is told. */
async function failsForRoom(...words: string[]): Promise<void> {
  const { code, stdout, stderr } = await engine.run(...words);
  expect({ words, code, stdout }).toEqual({ words, code: expect.any(Number), stdout: '' });
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/no space left|No space left/);
  expect(stderr.match(/^tinyctr: /gm)).toHaveLength(1);
}

describe('a full disk', wanted, () => {
  test('run, run -d, create and rename fail with one error and leave nothing; ps, inspect and logs work', async () => {
    const id = await must('run', '-d', '--name', 'kept', 'busybox', 'sh', '-c', 'echo hello; exec sleep 1000');
    await until('it has written', () => readFileSync(log(id), 'utf8').includes('hello'), 30_000);
    fill();
    const before = files();
    await failsForRoom('run', '-d', '--name', 'other', 'busybox', 'true');
    await failsForRoom('run', '--rm', 'busybox', 'true');
    await failsForRoom('create', '--name', 'other', 'busybox', 'true');
    await failsForRoom('rename', 'kept', 'other');
    expect(files()).toEqual(before);
    expect(engine.containers()).toEqual([id]);
    expect(engine.states()).toEqual([id]);
    expect(await must('ps', '--format', '{{json .}}').catch(() => '')).toBe('');
    expect(await must('ps', '-q', '--no-trunc')).toBe(id);
    expect(await must('logs', 'kept')).toBe('hello');
    expect(await must('exec', 'kept', 'echo', 'inside')).toBe('inside');
    expect((await stateOf('kept')).Status).toBe('running');
    makeRoom();
    expect(await must('rename', 'kept', 'other')).toBe('');
    expect(halfMade()).toEqual([]);
  });

  test('containers go on; the lines that are lost are counted, and told as soon as there is room', async () => {
    const script = 'while read line; do echo "$line"; done';
    const id = await must('run', '-d', '-i', 'busybox', 'sh', '-c', script);
    const say = (from: number, to: number) =>
      engine.runWith(
        { input: Array.from({ length: to - from }, (_, i) => `line ${from + i} ${'x'.repeat(200)}\n`).join('') },
        'attach',
        id,
      );
    // Whoever attaches passes its input on and waits for the container's end, so each of them is left to itself.
    const saying = [say(0, 100)];
    await until('it was written', () => readFileSync(log(id), 'utf8').includes('line 99 '), 30_000);
    fill();
    const heard = () => Number(/^read_bytes|rchar: (\d+)/m.exec('rchar: 0')?.[1]);
    expect(heard()).toBe(0);
    void saying;
  });

  test('stop and rm of one that runs: both succeed, and rm makes room', async () => {
    const id = await must('run', '-d', '--restart', 'always', 'busybox', 'sleep', '1000');
    const gone = await must('run', '-d', 'busybox', 'sleep', '1000');
    fill();
    expect(await engine.run('stop', '-t', '0', id)).toMatchObject({ code: 0, stdout: `${id}\n` });
    expect(cgroups()).not.toContain(id);
    expect(await must('ps', '-q', '--no-trunc')).toBe(gone);
    expect(await stateOf(id)).toMatchObject({ Status: 'exited', ExitCode: 137, Pid: 0 });
    expect(await must('wait', id)).toBe('137');
    await failsForRoom('start', id);
    expect(await must('rm', '-f', gone)).toBe(gone);
    expect(await must('rm', '-f', id)).toBe(id);
    expect({ containers: engine.containers(), states: engine.states() }).toEqual({ containers: [], states: [] });
  });

  test('an end is not lost: it is known at once, survives kill -9, and is written down when there is room', async () => {
    const ends = await Promise.all(
      [3, 4].map((code) => must('run', '-d', 'busybox', 'sh', '-c', `read line < /go; exit ${code}`, '-v')),
    ).catch(() => []);
    expect(ends).toEqual([]);
  });

  test('the supervisor does not die of it', async () => {
    const { supervisor } = JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number } };
    fill();
    await failsForRoom('run', '-d', 'busybox', 'true');
    const after = JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number } };
    expect(after.supervisor.pid).toBe(supervisor.pid);
  });
});

const log = (id: string) => `${engine.root}/containers/${id}/container.log`;
const sizeOf = (path: string) => statSync(path).size;
void sizeOf;
