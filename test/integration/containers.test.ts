/** What people do with containers that run in the background: exec, ps, inspect, pause, rename, top, stats. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Pty } from '../support/pty.ts';
import { Engine } from '../support/tinyctr.ts';

let engine: Engine;
let id = '';
beforeAll(async () => {
  process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';
  engine = await new Engine().prepare();
  if (process.getuid!() === 0)
    id = await must(
      'run',
      '-d',
      '--name',
      'one',
      '-l',
      'a=b',
      '-e',
      'A=1',
      '--stop-timeout',
      '0',
      'busybox',
      'sleep',
      '1000',
    );
});
afterAll(async () => {
  await engine.quiet();
  engine.remove();
  delete process.env.TINYCTR_SUPERVISOR_IDLE_MS;
});

const must = (...words: string[]) => engine.must(...words);

const inspect = async (name: string) => (JSON.parse(await must('inspect', name)) as Inspected[])[0]!;
interface Inspected {
  Id: string;
  Name: string;
  RestartCount: number;
  State: Record<string, unknown>;
  Config: Record<string, unknown>;
}

describe('exec', needs({ root: true }), () => {
  test('a command in the container, with its walls and its environment', async () => {
    const text = await must(
      'exec',
      'one',
      'sh',
      '-c',
      'echo $A; cat /proc/1/comm; grep -E "^(CapEff|Seccomp):" /proc/self/status',
    );
    expect(text).toBe('1\nsleep\nCapEff:\t00000000a80425fb\nSeccomp:\t2');
    const cgroup = await must('exec', 'one', 'cat', '/proc/self/cgroup');
    expect(cgroup).toMatch(/^0::\/$/m);
  });

  test('-e, -w, -u by name; the exit status is the command’s', async () => {
    const words = [
      'exec',
      '-e',
      'B=2',
      '-w',
      '/tmp',
      '-u',
      'nobody',
      'one',
      'sh',
      '-c',
      'echo $A$B; pwd; id -un; exit 9',
    ];
    expect(await engine.run(...words)).toMatchObject({ code: 9, stdout: '12\n/tmp\nnobody\n' });
  });

  test('-i passes a pipe on, -t is a terminal, -d leaves it running', async () => {
    expect(await engine.runWith({ input: 'hello' }, 'exec', '-i', 'one', 'cat')).toMatchObject({
      code: 0,
      stdout: 'hello',
    });
    const pty = new Pty([...engine.command, 'exec', '-it', 'one', 'sh']);
    await pty.shows(/# /);
    pty.type('tty; exit 3\r');
    await pty.shows(/\/dev\//);
    expect(await pty.ended).toBe(3);
    expect(await must('exec', '-d', 'one', 'sleep', '77')).toBe('');
    expect(await must('exec', 'one', 'ps')).toMatch(/sleep 77/);
  });

  test('--privileged: no filter', async () => {
    expect(await must('exec', '--privileged', 'one', 'grep', 'Seccomp:', '/proc/self/status')).toBe('Seccomp:\t0');
  });

  test('a container in the foreground too', async () => {
    const child = engine.spawn('run', '--rm', '--name', 'front', 'busybox', 'sleep', '1000');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await expect.poll(async () => (await engine.run('exec', 'front', 'hostname')).code).toBe(0);
    expect(await must('stop', '-t', '0', 'front')).toBe('front');
    expect(await ended).toBe(137);
  });

  test.each([
    [['nobody-has-this', 'true'], 1, /no such container/],
    [['one', 'nope'], 127, /executable file not found/],
    [['-u', 'unknown', 'one', 'true'], 125, /unknown/],
    [['-w', 'relative', 'one', 'true'], 125, /not an absolute path/],
  ])('exec %j: one clear error', async (words, code, text) => {
    expect(await engine.run('exec', ...words)).toMatchObject({ code, stderr: expect.stringMatching(text) });
  });
});

describe('seen', needs({ root: true }), () => {
  test('ps: filters, whole ids, JSON', async () => {
    expect(await must('ps', '-q', '--no-trunc', '--filter', 'name=one')).toBe(id);
    expect(await must('ps', '-q', '--filter', 'label=a=c')).toBe('');
    expect(await must('ps', '-aq', '--filter', 'status=exited')).toBe('');
    const row = JSON.parse(await must('ps', '--format', 'json', '--filter', 'label=a')) as Record<string, string>;
    expect(row).toMatchObject({ ID: id.slice(0, 12), State: 'running', Names: 'one', Image: 'busybox', Labels: 'a=b' });
    expect(await engine.run('ps', '--filter', 'colour=red')).toMatchObject({ code: 125 });
  });

  test('inspect: docker’s names, and the truth of the kernel', async () => {
    const { Id, Name, State, Config } = await inspect('one');
    expect({ Id, Name }).toEqual({ Id: id, Name: '/one' });
    expect(State).toMatchObject({ Status: 'running', Running: true, ExitCode: 0 });
    expect(readFileSync(`/proc/${State.Pid}/cgroup`, 'utf8')).toContain(id);
    expect(Config).toMatchObject({ Image: 'busybox', Cmd: ['sleep', '1000'], Labels: { a: 'b' }, StopTimeout: 0 });
    expect(await engine.run('inspect', '-f', '{{.Id}}', 'one')).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('jq'),
    });
  });

  test('RestartCount and how it ended', async () => {
    const failing = await must('run', '-d', '--restart', 'on-failure:2', 'busybox', 'sh', '-c', 'exit 3');
    await expect.poll(async () => (await inspect(failing)).RestartCount).toBe(2);
    await expect.poll(async () => (await inspect(failing)).State).toMatchObject({ Status: 'exited', ExitCode: 3 });
    await must('rm', failing);
  });

  test('pause and unpause: the processes stand still, and go on', async () => {
    expect(await must('pause', 'one')).toBe('one');
    expect((await inspect('one')).State).toMatchObject({ Status: 'paused', Paused: true, Running: true });
    expect(await engine.run('pause', 'one')).toMatchObject({ code: 1, stderr: expect.stringContaining('is paused') });
    expect(await must('unpause', 'one')).toBe('one');
    expect((await inspect('one')).State).toMatchObject({ Status: 'running' });
  });

  test('rename: the new name is its, the old one free, a taken one refused', async () => {
    const other = await must('create', '--name', 'other', 'busybox');
    expect(await engine.run('rename', 'other', 'one')).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('in use'),
    });
    await must('rename', 'other', 'another');
    expect((await inspect('another')).Id).toBe(other);
    expect(await engine.run('inspect', 'other')).toMatchObject({ code: 1 });
    await must('rm', 'another');
  });

  test('without --name it gets two words, which do what a name does', async () => {
    const made = await must('create', 'busybox');
    const name = ((await inspect(made)).Name as string).slice(1);
    expect(name).toMatch(/^[a-z]+_[a-z]+$/);
    expect(await must('ps', '-a', '--filter', `id=${made}`)).toMatch(new RegExp(` ${name}$`));
    expect(await must('rm', name)).toBe(name);
    const child = engine.spawn('run', '--rm', 'busybox', 'sleep', '1000');
    const shown = async () => (await must('ps', '--filter', 'status=running')).split('\n').slice(1);
    let rows: string[] = [];
    for (const until = Date.now() + 30_000; Date.now() < until && rows.length < 2; ) rows = await shown();
    const other = rows.map((row) => row.split(/ +/).at(-1)!).find((each) => each !== 'one')!;
    expect(other).toMatch(/^[a-z]+_[a-z]+$/);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await must('kill', other);
    expect(await ended).toBe(137);
  });

  test('renamed and restarted by many at once, no change is lost, and no name stays behind', async () => {
    const made = await must('run', '-d', '--name', 'start', '--stop-timeout', '0', 'busybox', 'sleep', '1000');
    const names = Array.from({ length: 8 }, (_, i) => `name${i}`);
    const renames = names.map((name) => engine.run('rename', made, name));
    const restarts = Array.from({ length: 4 }, () => engine.run('restart', made));
    for (const result of await Promise.all([...renames, ...restarts]))
      expect(result).toMatchObject({ code: 0, stderr: '' });
    const links = readdirSync(`${engine.root}/containers/.names`).filter(
      (name) => readlinkSync(`${engine.root}/containers/.names/${name}`) === made,
    );
    expect(links).toHaveLength(1);
    expect(names).toContain(links[0]);
    expect(await inspect(links[0]!)).toMatchObject({ Id: made, Name: `/${links[0]}`, State: { Running: true } });
    await must('rm', '-f', made);
    expect(readdirSync(`${engine.root}/containers/.names`)).not.toContain(links[0]);
  });

  test('top and stats', async () => {
    expect(await must('top', 'one')).toMatch(
      /^UID +PID +PPID +C +STIME +TTY +TIME +CMD\nroot +\d+ +\d+ +\d+ +\S+ +\? +00:00:00 +sleep 1000$/m,
    );
    expect(await must('top', 'one', '-o', 'pid,args')).toMatch(/^ *\d+ sleep 1000$/m);
    const row = JSON.parse((await must('stats', '--no-stream', '--format', 'json', 'one')).split('\n')[0]!) as Record<
      string,
      string
    >;
    expect(row).toMatchObject({ Name: 'one', PIDs: expect.stringMatching(/^[1-9]\d*$/) });
    expect(row.CPUPerc).toMatch(/^\d+\.\d\d%$/);
  });
});
