/** A full disk: containers go on, what is lost is told, each command ends with one clear error or success, and the state is true afterwards. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { cgroups, Engine, readIfThere, scratch, until } from '../support/tinyctr.ts';

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
  if (wanted.skip) return;
  await engine.quiet();
  execFileSync('umount', [engine.root]);
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);
const makeRoom = () => rmSync(`${engine.root}/ballast`, { force: true });
const log = (id: string) => `${engine.root}/containers/${id}/container.log`;

/** Not one page is left. */
function fill(): void {
  expect(() => writeFileSync(`${engine.root}/ballast`, Buffer.alloc(32 << 20), { flag: 'a' })).toThrow('ENOSPC');
  expect(statfsSync(engine.root).bfree).toBe(0);
}

interface State {
  Status: string;
  Pid: number;
  ExitCode: number;
}
const stateOf = async (name: string) => (JSON.parse(await must('inspect', name)) as { State: State }[])[0]!.State;
const pids = async () =>
  (JSON.parse(await must('info', '--format', 'json')) as { supervisor: { pid: number; keeperPid: number } }).supervisor;
const files = () => readdirSync(`${engine.root}/containers`, { recursive: true }).map(String).sort();

async function failsForRoom(...words: string[]): Promise<void> {
  const { code, stdout, stderr } = await engine.run(...words);
  expect({ words, failed: code !== 0, stdout, stderr }).toEqual({
    words,
    failed: true,
    stdout: '',
    stderr: expect.stringMatching(/no space left/i),
  });
  expect(stderr.match(/^tinyctr: /gm)).toHaveLength(1);
}

/** Ends with a status when it is told to, by a file of the host's. */
const endsWhenTold = (folder: string, code: number) => [
  ...['-v', `${folder}:/told`, 'busybox', 'sh', '-c'],
  `while [ ! -e /told/${code} ]; do sleep 0.05; done; exit ${code}`,
];

describe('a full disk', wanted, () => {
  test('run, create, run -d and rename fail with one error and leave nothing; looking and exec work', async () => {
    const id = await must('run', '-d', '--name', 'kept', 'busybox', 'sh', '-c', 'echo hello; exec sleep 1000');
    await until('it has written', () => readFileSync(log(id), 'utf8').includes('hello'), 30_000);
    fill();
    const before = files();
    await failsForRoom('run', '-d', '--name', 'other', 'busybox', 'true');
    await failsForRoom('run', '--rm', 'busybox', 'true');
    await failsForRoom('create', '--name', 'other', 'busybox', 'true');
    await failsForRoom('rename', 'kept', 'other');
    expect(files()).toEqual(before);
    expect(engine.states()).toEqual([id]);
    expect(await must('ps', '-a', '-q', '--no-trunc')).toBe(id);
    expect(await must('logs', 'kept')).toBe('hello');
    expect(await must('exec', 'kept', 'echo', 'inside')).toBe('inside');
    expect(await stateOf('kept')).toMatchObject({ Status: 'running' });
    const supervisorSaid = readFileSync(`${engine.runRoot}/.supervisor.log`, 'utf8');
    expect(supervisorSaid).not.toMatch(/^Node\.js v/m); // what Node's end by an exception looks like
    makeRoom();
    expect(await must('rename', 'kept', 'other')).toBe('');
    expect(await stateOf('other')).toMatchObject({ Status: 'running' });
  });

  test('containers go on; lines that are lost are counted, and told when there is room, also of one that writes no more', async () => {
    const told = scratch(engine);
    // 64 bytes each: however the keeper reads them, a line is one piece.
    const count =
      'i=0; say() { while [ $i -lt $1 ]; do printf "%063d\\n" $i; i=$((i+1)); done; echo $i > /told/said; }; ' +
      'wait() { while [ ! -e /told/$1 ]; do sleep 0.05; done; }; say 100; wait on; say 5000; wait again; say 6000; exec sleep 1000';
    const [id, quiet] = await Promise.all([
      must('run', '-d', '-v', `${told}:/told`, 'busybox', 'sh', '-c', count),
      must(
        'run',
        '-d',
        '-v',
        `${told}:/told`,
        'busybox',
        'sh',
        '-c',
        `${count.replaceAll('said', 'quiet').replace('wait again', 'wait never')}`,
      ),
    ]);
    const hasSaid = (file: string, lines: number) =>
      until(`${lines} lines`, () => Number(readIfThere(`${told}/${file}`)) === lines, 30_000);
    await hasSaid('said', 100);
    await hasSaid('quiet', 100);
    await until(
      'they are in the logs',
      () => [id, quiet].every((one) => readFileSync(log(one), 'utf8').includes(`${'0'.repeat(61)}99`)),
      30_000,
    );
    fill();
    writeFileSync(`${told}/on`, '');
    await hasSaid('said', 5000);
    await hasSaid('quiet', 5000);
    makeRoom();
    const text = (one: string) => readFileSync(log(one), 'utf8');
    const lost = (one: string) =>
      [...text(one).matchAll(/tinyctr: (\d+) pieces of output are lost/g)].reduce((sum, [, n]) => sum + Number(n), 0);
    const written = (one: string) => text(one).split('"stream":"stdout"').length - 1;
    await until('the loss is told', () => written(quiet) + lost(quiet) === 5000, 30_000);
    writeFileSync(`${told}/again`, '');
    await until('it goes on', () => written(id) + lost(id) === 6000, 30_000);

    for (const one of [id, quiet]) {
      expect(lost(one)).toBeGreaterThan(0);
      const there = (await engine.run('logs', one)).stdout.trim().split('\n').map(Number);
      expect(there).toHaveLength(written(one)); // whole lines
      expect(there).toEqual([...new Set(there)].sort((a, b) => a - b)); // in order, none twice
    }
    expect(await must('logs', '--tail', '1', id)).toBe('5999'.padStart(63, '0'));
  });

  test('stop and rm -f succeed, and rm makes room; start says why it can’t', async () => {
    const [id, gone] = await Promise.all([
      must('run', '-d', '--restart', 'always', 'busybox', 'sleep', '1000'),
      must('run', '-d', 'busybox', 'sleep', '1000'),
    ]);
    fill();
    expect(await engine.run('stop', '-t', '0', id)).toMatchObject({ code: 0, stdout: `${id}\n`, stderr: '' });
    expect(cgroups()).not.toContain(id);
    expect(await must('ps', '-q', '--no-trunc')).toBe(gone);
    expect(await stateOf(id)).toMatchObject({ Status: 'exited', ExitCode: 137, Pid: 0 });
    expect(await must('wait', id)).toBe('137');
    await failsForRoom('start', id);
    expect(await must('rm', '-f', gone)).toBe(gone);
    expect(cgroups()).not.toContain(gone);
    expect(await must('rm', '-f', id)).toBe(id);
    expect({ containers: engine.containers(), states: engine.states() }).toEqual({ containers: [], states: [] });
  });

  test('an end is known at once, survives kill -9 of supervisor and keeper, and is written down when there is room', async () => {
    const told = scratch(engine);
    const ids = [
      await must('run', '-d', ...endsWhenTold(told, 3)),
      await must('run', '-d', ...endsWhenTold(told, 4)),
      await must('run', '-d', ...endsWhenTold(told, 5)),
    ] as const;
    const isDead = (pid: number) => !/^State:\s+[RSD]/m.test(readIfThere(`/proc/${pid}/status`));
    const end = async (code: number) => {
      const { Pid } = await stateOf(ids[code - 3]!);
      writeFileSync(`${told}/${code}`, '');
      await until('it is dead', () => isDead(Pid), 30_000);
    };
    fill();
    await end(3);
    expect(await must('wait', ids[0])).toBe('3');
    expect(await must('ps', '-a', '--filter', `id=${ids[0]}`)).toContain('Exited (3)');
    const { pid, keeperPid } = await pids();
    kill(pid, 'tinyctr-supervisor.cjs');
    await until('the supervisor is gone', () => !existsSync(`/proc/${pid}`), 30_000);
    await end(4);
    expect(await must('wait', ids[1])).toBe('4');
    kill(keeperPid, 'keeper');
    await until('the keeper is gone', () => !existsSync(`/proc/${keeperPid}`), 30_000);
    makeRoom();
    expect(await must('ps', '-q')).toBe('');
    for (const [i, code] of [3, 4, 137].entries()) {
      expect(await stateOf(ids[i]!)).toMatchObject({ Status: 'exited', ExitCode: code });
      expect(
        JSON.parse(readFileSync(`${engine.root}/containers/${ids[i]}/container.json`, 'utf8')).ended,
      ).toMatchObject({ exitCode: code });
    }
    expect(engine.states()).toEqual([]);
  });

  test('in the foreground: the exit status is the command’s, and is written down later', async () => {
    const told = scratch(engine);
    const running = engine.run('run', '--name', 'front', ...endsWhenTold(told, 7));
    await until('it runs', () => engine.states().some((id) => cgroups().includes(id)), 30_000);
    await until('it is there', () => engine.containers().length === 1, 30_000);
    fill();
    writeFileSync(`${told}/7`, '');
    expect(await running).toMatchObject({ code: 7, stderr: expect.stringContaining('warning') });
    expect(await stateOf('front')).toMatchObject({ Status: 'exited', ExitCode: 7 });
    makeRoom();
    expect(await must('ps', '-a')).toContain('Exited (7)');
    expect(engine.states()).toEqual([]);
  });

  test('--restart goes on when there is room again', async () => {
    const told = scratch(engine);
    const script = 'echo run; while [ ! -e /told/end ]; do sleep 0.05; done; [ -e /told/stay ] && exec sleep 1000';
    const id = await must('run', '-d', '--restart', 'always', '-v', `${told}:/told`, 'busybox', 'sh', '-c', script);
    const { Pid } = await stateOf(id);
    fill();
    writeFileSync(`${told}/end`, '');
    await until('it ended', () => !existsSync(`/proc/${Pid}/root/told`), 30_000);
    writeFileSync(`${told}/stay`, '');
    makeRoom();
    await until('it is back', () => cgroups().includes(id), 30_000);
    expect((await stateOf(id)).Pid).not.toBe(Pid);
  });
});

/** A process of this engine's own. */
function kill(pid: number, name: string): void {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  expect(words).toContain(name);
  expect(words).toContain(engine.runRoot);
  process.kill(pid, 'SIGKILL');
}
