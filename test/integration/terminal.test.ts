/** tinyctr at a terminal: when the container gets one, what goes through it, and how the caller's is given back. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Pty, type PtyOptions } from '../support/pty.ts';
import { Engine, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

const atTerminal = (words: string[], options?: PtyOptions) => new Pty([...engine.command, ...words], options);
const atShell = (script: string) => new Pty(['sh', '-c', script, 'sh', ...engine.command]);

/** Waits for the end, and expects the caller's terminal to be as it was. */
async function expectEnd(pty: Pty, status: number): Promise<void> {
  expect(await pty.ended).toBe(status);
  expect(pty.settingsAfter).toBe(pty.settings);
}

describe('who gets a terminal', needs({ root: true, command: 'setsid' }), () => {
  test('stdin and stdout are terminals, nothing is said: a shell', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'sh']);
    await pty.shows(/# /);
    pty.type('tty; ls -l /dev/console | cut -c 1; cat /proc/1/comm\r');
    await pty.shows(/\r\n\/dev\/(pts\/0|console)\r\nc\r\nsh\r\n/);
    pty.type('exit 3\r');
    await expectEnd(pty, 3);
  });

  test('the image’s own command too', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox']);
    await pty.shows(/# /);
    pty.type('exit\r');
    await expectEnd(pty, 0);
  });

  const probe = ['busybox', 'sh', '-c', 'for fd in 0 1 2; do [ -t $fd ] && echo -n "$fd "; done; echo .'];

  test.each([
    [[], '0 1 2 .'],
    [['-i', '-t'], '0 1 2 .'],
    [['-it'], '0 1 2 .'],
    [['-t'], '0 1 2 .'],
    [['--tty=false'], '.'],
    [['--tty=true', '-i'], '0 1 2 .'],
    [['-i'], '.'],
  ])('at a terminal, with %j: terminals are %s', async (options, expected) => {
    const pty = atTerminal(['run', '--rm', ...options, ...probe]);
    await expectEnd(pty, 0);
    // With -t alone the caller's terminal is not raw, and puts a \r before \n that is there already, as with docker.
    expect(pty.screen.replace('\r\r', '\r')).toBe(`${expected}\r\n`);
  });

  test('stdout is a file, nothing is said: no terminal', async () => {
    const file = `${engine.folder}/out`;
    const fd = openSync(file, 'w');
    const pty = atTerminal(['run', '--rm', ...probe], { redirect: { 1: fd } });
    await expectEnd(pty, 0);
    closeSync(fd);
    expect(readFileSync(file, 'utf8')).toBe('.\n');
  });

  test('stdin is a file, nothing is said: no terminal', async () => {
    const fd = openSync('/dev/null', 'r');
    const pty = atTerminal(['run', '--rm', ...probe], { redirect: { 0: fd } });
    await expectEnd(pty, 0);
    closeSync(fd);
    expect(pty.screen).toBe('.\r\n');
  });

  test('-i alone: the keyboard through a pipe, and the end does not wait for a key', async () => {
    const pty = atTerminal(['run', '--rm', '-i', 'busybox', 'sh', '-c', 'read line; echo "<$line>"']);
    pty.type('typed\r');
    await pty.shows(/<typed>/);
    await expectEnd(pty, 0);
  });

  test('the caller’s terminal itself is not in the container', async () => {
    const script = 'for fd in 0 1 2; do readlink /proc/self/fd/$fd; done | cut -d : -f 1 | sort -u | tr "\\n" " "';
    const pty = atTerminal(['run', '--rm', '--tty=false', '-i', 'busybox', 'sh', '-c', script]);
    await expectEnd(pty, 0);
    expect(pty.screen.trim()).toBe('pipe');
  });
});

describe('what goes through it', needs({ root: true, command: 'setsid' }), () => {
  test('the window’s size at the start, and when it changes', async () => {
    const pty = atTerminal(
      [
        'run',
        '--rm',
        'busybox',
        'sh',
        '-c',
        'trap "stty size" WINCH; trap "exit 0" TERM; stty size; while :; do sleep 0.05; done',
      ],
      {
        rows: 33,
        columns: 101,
      },
    );
    await pty.shows(/33 101\r\n/);
    pty.resize(40, 120);
    await pty.shows(/40 120\r\n/);
    pty.child.kill('SIGTERM');
    await expectEnd(pty, 0);
  });

  test('Ctrl-C reaches the program in the foreground, not tinyctr', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'sh']);
    await pty.shows(/# /);
    pty.type('sleep 1000\r');
    await pty.shows(/sleep 1000\r\n/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    pty.type('\x03');
    await pty.shows(/# /);
    pty.type('echo status $?; exit 5\r');
    await pty.shows(/status 130\r\n/);
    await expectEnd(pty, 5);
  });

  test('Ctrl-D ends the input', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'cat']);
    pty.type('line\r');
    await pty.shows(/line\r\nline\r\n/);
    pty.type('\x04');
    await expectEnd(pty, 0);
  });

  test('Ctrl-Z and fg: job control works in the container', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'sh']);
    await pty.shows(/# /);
    pty.type('sleep 1000\r');
    await pty.shows(/sleep 1000\r\n/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    pty.type('\x1a');
    await pty.shows(/Stopped/);
    pty.type('kill %1; fg; exit 4\r');
    await expectEnd(pty, 4);
  });

  // Five times: what is lost when the other end closes is a matter of luck.
  test.each([1, 2, 3, 4, 5])('all output arrives, however much (%i)', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'seq', '1', '100000']);
    await expectEnd(pty, 0);
    const lines = pty.screen.split('\r\n');
    expect(lines.slice(-2)).toEqual(['100000', '']);
    expect(lines.length).toBe(100_001);
    expect(lines.findIndex((line, i) => i < 100_000 && line !== String(i + 1))).toBe(-1);
  });

  test('pasted text of 50 kB arrives whole', async () => {
    const pty = atTerminal([
      'run',
      '--rm',
      'busybox',
      'sh',
      '-c',
      'stty raw -echo; echo ready; head -c 50000 | md5sum; stty sane',
    ]);
    await pty.shows(/ready/);
    pty.type('x'.repeat(50_000));
    await pty.shows(/[0-9a-f]{32}/);
    await expectEnd(pty, 0);
    expect(pty.screen).toContain(createHash('md5').update('x'.repeat(50_000)).digest('hex'));
  });

  test('--init: the command is in the foreground of the terminal', async () => {
    const pty = atTerminal(['run', '--rm', '--init', 'busybox', 'sh']);
    await pty.shows(/# /);
    pty.type('sleep 1000\r');
    await pty.shows(/sleep 1000\r\n/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    pty.type('\x03');
    await pty.shows(/# /);
    pty.type('exit 6\r');
    await expectEnd(pty, 6);
  });

  test('an ordinary user owns the terminal and can open it', async () => {
    const script = 'stat -c %U $(tty); echo opened > /dev/tty; echo out > /dev/stdout';
    const pty = atTerminal(['run', '--rm', '-u', 'nobody', 'busybox', 'sh', '-c', script]);
    await expectEnd(pty, 0);
    expect(pty.screen).toBe('nobody\r\nopened\r\nout\r\n');
  });

  test('all output arrives when it goes into a pipe with a slow reader', async () => {
    const pty = atShell('"$@" run --rm -t busybox seq 1 100000 | (sleep 0.5; tail -n 1; echo end)');
    await pty.shows(/100000\r+\nend/);
    await expectEnd(pty, 0);
  });

  test('output that nobody reads any more ends it', async () => {
    const pty = atShell('"$@" run --rm -t busybox yes | head -n 1; echo after');
    await pty.shows(/after/);
    await expectEnd(pty, 0);
  });
});

describe('how the caller’s terminal is given back', needs({ root: true, command: 'setsid' }), () => {
  test('it is raw meanwhile: the container’s terminal does the echo', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'sh', '-c', 'stty -echo; echo ready; read line; echo "<$line>"']);
    await pty.shows(/ready/);
    pty.type('secret\r');
    await pty.shows(/<secret>/);
    await expectEnd(pty, 0);
    expect(pty.screen).toBe('ready\r\n<secret>\r\n');
  });

  test('after the container was killed', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'sh', '-c', 'echo ready; sleep 1000']);
    await pty.shows(/ready/);
    const { pid } = JSON.parse(readFileSync(`${engine.runRoot}/${engine.states()[0]}/state.json`, 'utf8'));
    process.kill(pid, 'SIGKILL');
    await expectEnd(pty, 137);
  });

  test('after an error before the start', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'no-such-command']);
    await expectEnd(pty, 127);
    expect(pty.screen).toMatch(/^tinyctr: exec: "no-such-command"/);
    expect(pty.screen).toMatch(/\r\n$/);
  });

  test('after an error of the kernel', async () => {
    const pty = atTerminal(['run', '--rm', '-v', '/no/such:/x', 'busybox', 'sh']);
    await expectEnd(pty, 125);
  });

  test('after SIGTERM, which the shell’s handler turned into an exit', async () => {
    const pty = atTerminal([
      'run',
      '--rm',
      'busybox',
      'sh',
      '-c',
      'trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done',
    ]);
    await pty.shows(/ready/);
    pty.child.kill('SIGTERM');
    await expectEnd(pty, 9);
  });

  test('process 1 without a handler does not hear Ctrl-C; the third in a row kills', async () => {
    const pty = atTerminal(['run', '--rm', 'busybox', 'sh', '-c', 'echo ready; exec sleep 60']);
    await pty.shows(/ready/);
    for (const keys of ['\x03', '\x03', 'x', '\x03', '\x03']) {
      const before = pty.screen.length;
      pty.type(keys);
      await until('the terminal echoes', () => pty.screen.length > before);
    }
    expect(pty.screen).not.toContain('tinyctr:');
    pty.type('\x03');
    await pty.shows(/the third Ctrl-C/);
    await expectEnd(pty, 137);
  });

  test('a program that handles Ctrl-C, or reads it as a key, is not killed by the third', async () => {
    const hears = `n=0; trap 'n=$((n+1)); echo got $n' INT; echo ready; while [ $n -lt 4 ]; do sleep 0.05; done; trap - INT`;
    const reads = 'stty raw -echo; echo raw; dd bs=1 count=4 2>/dev/null | od -An -tx1';
    const pty = atTerminal(['run', '--rm', 'busybox', 'sh', '-c', `${hears}; ${reads}`]);
    await pty.shows(/ready/);
    for (const count of [1, 2, 3, 4]) {
      pty.type('\x03');
      await pty.shows(new RegExp(`got ${count}`));
    }
    await pty.shows(/raw/);
    pty.type('\x03\x03\x03\x03');
    await pty.shows(/03 03 03 03/);
    await expectEnd(pty, 0);
  });

  test('when the terminal hangs up, the container gets SIGHUP and ends', async () => {
    const pty = atTerminal([
      'run',
      '--rm',
      'busybox',
      'sh',
      '-c',
      'trap "exit 1" HUP; echo ready; while :; do sleep 0.05; done',
    ]);
    await pty.shows(/ready/);
    pty.child.kill('SIGHUP');
    await expectEnd(pty, 1);
    await until('the container is gone', () => engine.states().length === 0);
  });

  test('what the shell reads next is not eaten', async () => {
    const pty = atShell('"$@" run --rm busybox true; echo ended; read line; echo "<$line>"');
    await pty.shows(/ended/);
    pty.type('for the shell\r');
    await pty.shows(/<for the shell>/);
    await expectEnd(pty, 0);
  });
});
