/** Terminals of containers that live on: keys that leave them, signals, window sizes, terminals that hang up, readers that leave. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Pty } from '../support/pty.ts';
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

const PATIENCE = { timeout: 30_000 };
const must = (...words: string[]) => engine.must(...words);
const detached = (options: string[], ...words: string[]) =>
  must('run', '-d', '--stop-timeout', '0', ...options, 'busybox', ...words);
const atTerminal = (...words: string[]) => new Pty([...engine.command, ...words]);
const status = async (id: string) =>
  (JSON.parse(await must('inspect', id)) as { State: { Status: string } }[])[0]!.State.Status;

describe('exec -it', needs({ root: true, command: 'setsid' }), () => {
  test('the keys leave the command running: it writes on, and its terminal stays', async () => {
    const id = await detached([], 'sleep', '1000');
    const pty = atTerminal('exec', '-it', id, 'sh', '-c', 'echo ready; while :; do echo line; sleep 0.05; done');
    await pty.shows(/line/, 30_000);
    pty.type('\x10');
    pty.type('\x11');
    await pty.shows(/read escape sequence/, 30_000);
    expect(await pty.ended).toBe(0);
    expect(pty.settingsAfter).toBe(pty.settings);
    const naps = async () => (await must('top', id)).split('\n').filter((line) => line.includes('while :')).length;
    expect(await naps()).toBeGreaterThan(0);
    await must('exec', id, 'sh', '-c', 'until [ $(ps | grep -c "sleep 0.0[5]") = 1 ]; do :; done'); // it goes on
    expect(await naps()).toBeGreaterThan(0);
    await must('rm', '-f', id);
  });

  test('other keys; a beginning of them is passed on', async () => {
    const id = await detached([], 'sleep', '1000');
    const pty = atTerminal('exec', '-it', '--detach-keys', 'ctrl-a,d', id, 'cat');
    pty.type('\x10\x11ad\r');
    await pty.shows(/ad/, 30_000);
    pty.type('\x01d');
    await pty.shows(/read escape sequence/, 30_000);
    expect(await pty.ended).toBe(0);
    expect(await must('top', id)).toMatch(/ cat$/m);
    await must('rm', '-f', id);
  });

  test.each([
    [['exec', '--detach-keys', 'ctrl-a', 'x', 'true'], 'no such container'],
    [['run', '--detach-keys', 'ctrl-a', 'busybox'], 'tinyctr run -d -it, then tinyctr attach'],
    [['create', '--detach-keys', 'ctrl-a', 'busybox'], 'tinyctr run -d -it, then tinyctr attach'],
    [['start', '--detach-keys', 'ctrl-a', 'x'], 'go with -a or -i'],
  ])('%j is refused', async (words, text) => {
    const { code, stderr } = await engine.run(...words);
    expect(code).not.toBe(0);
    expect(stderr).toContain(text);
  });
});

describe('attach', needs({ root: true, command: 'setsid' }), () => {
  test('what is typed, the window’s size and its changes, the keys; and again', async () => {
    const id = await detached(['-it'], 'sh');
    for (const keys of ['ctrl-p,ctrl-q', 'ctrl-x']) {
      const pty = new Pty([...engine.command, 'attach', '--detach-keys', keys, id], { rows: 33, columns: 99 });
      pty.type('stty size\r');
      await pty.shows(/33 99/, 30_000);
      pty.resize(22, 88);
      pty.type('until [ "$(stty size)" = "22 88" ]; do sleep 0.05; done; echo sized$((1+1))\r');
      await pty.shows(/sized2/, 30_000);
      pty.type(keys === 'ctrl-x' ? '\x18' : '\x10\x11');
      expect(await pty.ended).toBe(0);
      expect(pty.settingsAfter).toBe(pty.settings);
    }
    const pty = atTerminal('attach', id);
    pty.type('exit 7\r');
    expect(await pty.ended).toBe(7);
    await must('rm', id);
  });

  test('start -ai at a terminal ends as the shell does; -a shows what is written', async () => {
    const id = await must('create', '-it', 'busybox', 'sh', '-c', 'read x; echo "<$x>"; exit 5');
    const pty = atTerminal('start', '-ai', id);
    pty.type('words\r');
    await pty.shows(/<words>/, 30_000);
    expect(await pty.ended).toBe(5);
    expect(await engine.run('start', '-i', id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has a terminal'),
    });
    await must('rm', id);
  });

  test('a signal is the container’s, with --sig-proxy=false it is not', async () => {
    const script = "n=0; trap 'n=$((n+1)); echo got $n' INT; while :; do echo tick; sleep 0.05; done";
    const id = await detached([], 'sh', '-c', script);
    const attached = (...words: string[]) => {
      const child = spawn(engine.command[0]!, [...engine.command.slice(1), 'attach', ...words, id], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout.on('data', (more: Buffer) => {
        text += more.toString();
      });
      const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
      return { child, ended, shows: (words: RegExp) => expect.poll(() => text, PATIENCE).toMatch(words) };
    };
    const deaf = attached('--sig-proxy=false');
    await deaf.shows(/tick/);
    deaf.child.kill('SIGINT');
    expect(await deaf.ended).toBe('SIGINT');
    const proxy = attached();
    await proxy.shows(/tick/);
    for (const count of [1, 2]) {
      proxy.child.kill('SIGINT');
      await proxy.shows(new RegExp(`got ${count}`));
    }
    proxy.child.kill('SIGINT');
    expect(await proxy.ended).toBe(130); // the third
    expect(await status(id)).toBe('running');
    expect(await must('logs', id)).not.toMatch(/got 3/);
    await must('rm', '-f', id);
  });

  test('who reads its output leaves: attach ends, the container goes on', async () => {
    const id = await detached([], 'sh', '-c', 'while :; do echo line; sleep 0.05; done');
    const child = spawn(engine.command[0]!, [...engine.command.slice(1), 'attach', '--no-stdin', id], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const end = new Promise((resolve) => child.once('exit', resolve));
    child.stdout.once('data', () => child.stdout.destroy());
    expect(await end).toBe(141);
    expect(await status(id)).toBe('running');
    await must('rm', '-f', id);
  });

  test('a container that does not run, or whose terminal nobody here has, is refused', async () => {
    const created = await must('create', 'busybox', 'true');
    expect(await engine.run('attach', created)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is created'),
    });
    const id = await detached(['-it'], 'sh');
    expect(await engine.run('attach', id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('standard input is none'),
    });
    await must('pause', id);
    expect(await engine.run('attach', '--no-stdin', id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is paused'),
    });
    await must('rm', '-f', created, id);
  });
});

describe('the terminal hangs up', needs({ root: true, command: 'setsid' }), () => {
  const ABORTED = 134;

  test('attach: the container goes on, and can be attached to again', async () => {
    const id = await detached(['-it'], 'sh');
    const pty = atTerminal('attach', id);
    pty.type('echo $((40+2))\r');
    await pty.shows(/42/, 30_000);
    pty.hangUp();
    expect(await pty.ended).toBe(129);
    const again = atTerminal('attach', id);
    again.type('exit 3\r');
    expect(await again.ended).toBe(3);
    await must('rm', id);
  });

  test.each([
    { words: ['run', '--name', 'hung-it', '-it', 'busybox', 'sh', '-c', 'echo ready; read line; exit 9'] },
    {
      words: [
        'run',
        '--name',
        'hung-i',
        '-i',
        'busybox',
        'sh',
        '-c',
        'trap "exit 1" HUP; echo ready; while :; do sleep 0.05; done',
      ],
    },
  ])('$words: the container ends, and Node does not abort', async ({ words }) => {
    const name = words[2]!;
    const pty = atTerminal(...words);
    await pty.shows(/ready/, 30_000);
    pty.hangUp();
    const code = await pty.ended;
    expect(code).not.toBe(ABORTED);
    expect(code).toBeGreaterThan(0);
    expect(await must('ps', '-q', '--filter', `name=${name}`)).toBe('');
  });

  test('exec: the command ends with it', async () => {
    const id = await detached([], 'sleep', '1000');
    const pty = atTerminal('exec', '-it', id, 'sh');
    await pty.shows(/# /, 30_000);
    pty.hangUp();
    const code = await pty.ended;
    expect(code).not.toBe(ABORTED);
    await expect.poll(() => must('top', id), PATIENCE).not.toMatch(/ sh$/m);
    await must('rm', '-f', id);
  });
});
