/** `tinyctr run` from the caller's side: exit status, standard input and output, what is left when it is over. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { cgroups, checkout, Engine, mountsBelow, runProgram, until } from '../support/tinyctr.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

describe('the word run', needs({ root: true }), () => {
  // `run` has a bundle of its own, and which word the verb is has to be told before it is loaded.
  test.each([
    [['rm', 'run'], 'no such container: run'],
    [['inspect', 'run'], 'No such container or image: run'],
    [['--log-format', 'text', 'rm', 'run'], 'no such container: run'],
  ])('%j is of another verb', async (words, said) => {
    expect((await engine.run(...words)).stderr).toContain(said);
  });
});

const tenMegabytes = Buffer.alloc(10 * 1024 * 1024, 'all work and no play makes a dull boy. ');
const digest = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');

/** A program that starts another one with a socket as standard output, and closes it after some of the output. */
const oneLine = `
  const [command, ...args] = process.argv.slice(1);
  const child = require("child_process").spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.once("data", (data) => { console.log(String(data).split("\\n")[0]); child.stdout.destroy(); });
`;

/** The command as a shell would be given it; nothing in it needs quotes. */
const words = () => engine.command.join(' ');

describe('exit status', needs({ root: true }), () => {
  test.each([
    [0, ['true']],
    [1, ['false']],
    [42, ['sh', '-c', 'exit 42']],
    [255, ['sh', '-c', 'exit 255']],
    [143, ['sh', '-c', 'sh -c "kill -TERM \\$\\$" 2>/dev/null; exit $?']],
  ])('%i from %j', async (code, command) => {
    const result = await engine.run('run', '--rm', 'busybox', ...command);
    expect(result).toEqual({ code, signal: null, stdout: '', stderr: '' });
  });

  test('137 when the container is killed', async () => {
    const onStdout = () => {
      const { pid } = JSON.parse(readFileSync(`${engine.runRoot}/${engine.states()[0]}/state.json`, 'utf8'));
      process.kill(pid, 'SIGKILL');
    };
    const result = await engine.runWith({ onStdout }, 'run', '--rm', 'busybox', 'sh', '-c', 'echo ready; sleep 60');
    expect(result).toMatchObject({ code: 137, signal: null, stdout: 'ready\n' });
  });

  test.each([
    [
      127,
      'no-such-program',
      /^tinyctr: exec: "no-such-program": executable file not found in \$PATH\n {2}hint: PATH is "/,
    ],
    [127, '/bin/no-such-program', /^tinyctr: exec: "\/bin\/no-such-program": no such file or directory\n/],
    [126, '/etc', /permission denied: it is a directory/],
    [126, '/etc/passwd', /permission denied: its mode 0644 has no x/],
    [126, '/dev/null', /permission denied: it is not a regular file/],
  ])('%i for the command %s', async (code, command, message) => {
    const result = await engine.run('run', '--rm', 'busybox', command);
    expect(result).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
  });

  test.each([
    [['run', '--no-such-option', 'busybox', 'true'], /unknown option '--no-such-option'/],
    [['run'], /missing required argument 'image'/],
    [['run', '--user', 'a b', 'busybox', 'true'], /--user 'a b' is not user\[:group\]/],
    [['run', 'no-such-image-here', 'true'], /no-such-image-here/],
    [['no-such-verb'], /no-such-verb/],
    [['--log-format', 'xml', 'run', 'busybox', 'true'], /text, json/],
  ])('125 for %j', async (args, message) => {
    expect(await engine.run(...args)).toMatchObject({ code: 125, stdout: '', stderr: expect.stringMatching(message) });
  });

  test('all mistakes of one command line are told at once', async () => {
    const { code, stderr } = await engine.run('run', '--cpus', 'x', '--ulimit', 'y=1', '--sysctl', 'z=1', 'busybox');
    expect(code).toBe(125);
    expect(stderr.split('\n').filter((line) => line.startsWith('tinyctr: --'))).toHaveLength(3);
  });

  test('an error as JSON: one line, with the facts as fields', async () => {
    const { code, stderr } = await engine.run('--log-format', 'json', 'run', '--rm', 'busybox', '/bin/none');
    expect(code).toBe(127);
    expect(JSON.parse(stderr)).toMatchObject({ msg: 'exec: "/bin/none": no such file or directory' });
  });

  test('125 and one sentence for who isn’t root', async (context) => {
    const launcher = engine.command[0]!;
    const result = await runProgram('setpriv', [
      '--reuid',
      '65534',
      '--clear-groups',
      launcher,
      'run',
      'busybox',
      'true',
    ]);
    const reachable = accessible(launcher) && !/Permission denied/.test(result.stderr);
    context.skip(!reachable, `nobody can’t reach ${launcher}`);
    expect(result).toMatchObject({ code: 125, stderr: expect.stringMatching(/^tinyctr: .*root.*\n/) });
  });
});

function accessible(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

describe('standard input', needs({ root: true }), () => {
  test('-i passes it on to its end', async () => {
    const result = await engine.runWith({ input: 'hi\n' }, 'run', '--rm', '-i', 'busybox', 'cat');
    expect(result).toMatchObject({ code: 0, stdout: 'hi\n', stderr: '' });
  });

  test('without -i there is none', async () => {
    const script = 'cat; readlink /proc/self/fd/0';
    const result = await engine.runWith({ input: 'hi\n' }, 'run', '--rm', 'busybox', 'sh', '-c', script);
    expect(result).toMatchObject({ code: 0, stdout: '/dev/null\n' });
  });

  test('the image’s own command reads it', async () => {
    const result = await engine.runWith({ input: 'echo from a script\n' }, 'run', '--rm', '-i', 'busybox');
    expect(result).toMatchObject({ code: 0, stdout: 'from a script\n' });
  });

  // A pipe is the container's own, a socket is carried over: Node's child processes have sockets, a shell's pipes.
  test('ten megabytes arrive from a socket, byte for byte', async () => {
    const { stdout } = await engine.runWith({ input: tenMegabytes }, 'run', '--rm', '-i', 'busybox', 'sha256sum');
    expect(stdout.split(' ')[0]).toBe(digest(tenMegabytes));
  });

  test('ten megabytes arrive from a pipe that has pauses, byte for byte', async () => {
    const file = `${engine.folder}/input`;
    writeFileSync(file, tenMegabytes);
    const script = `(sleep 0.3; head -c 5000000; sleep 0.1; cat) < ${file} | ${words()} run --rm -i busybox sha256sum`;
    const { stdout } = await runProgram('sh', ['-c', script]);
    expect(stdout.split(' ')[0]).toBe(digest(tenMegabytes));
  });

  test.each([
    ['with -i', ['-i']],
    ['without', []],
  ])('a command that does not read ends although the input stays open, %s', async (_, options) => {
    const child = spawn(
      engine.command[0]!,
      [...engine.command.slice(1), 'run', '--rm', ...options, 'busybox', 'true'],
      {
        stdio: ['pipe', 'ignore', 'inherit'],
      },
    );
    const status = await new Promise((resolve) => child.once('exit', resolve));
    child.stdin.destroy();
    expect(status).toBe(0);
  });

  test('a command can close its input before all was read', async () => {
    const input = Buffer.alloc(1024 * 1024, 'line\n');
    const result = await engine.runWith({ input }, 'run', '--rm', '-i', 'busybox', 'head', '-n', '1');
    expect(result).toMatchObject({ code: 0, stdout: 'line\n', stderr: '' });
  });

  test('-t with input that is no terminal is refused when -i wants it', async () => {
    const result = await engine.runWith({ input: '' }, 'run', '--rm', '-i', '-t', 'busybox', 'true');
    expect(result).toMatchObject({ code: 125, stderr: expect.stringMatching(/-i with -t wants a terminal/) });
  });
});

describe('standard output', needs({ root: true }), () => {
  test('output and errors stay apart', async () => {
    const result = await engine.shell('echo out; echo err >&2');
    expect(result).toEqual({ code: 0, signal: null, stdout: 'out\n', stderr: 'err\n' });
  });

  const numbers = Array.from({ length: 1_400_000 }, (_, i) => `${i + 1}\n`).join('');

  test('ten megabytes arrive through a socket, byte for byte', async () => {
    const { code, stdout } = await engine.run('run', '--rm', 'busybox', 'seq', '1', '1400000');
    expect(code).toBe(0);
    expect(digest(stdout)).toBe(digest(numbers));
  });

  test('ten megabytes arrive through a pipe with a slow reader, byte for byte', async () => {
    const script = `${words()} run --rm busybox seq 1 1400000 | (sleep 0.5; sha256sum)`;
    const { stdout } = await runProgram('sh', ['-c', script]);
    expect(stdout.split(' ')[0]).toBe(digest(numbers));
  });

  test.each(['text', 'json'])(
    '--debug writes to standard error (%s) and does not make it non-blocking',
    async (format) => {
      const script = `${words()} --debug --log-format ${format} run --rm busybox sh -c 'seq 1 100000 >&2; echo the end >&2' 2>&1 >/dev/null`;
      const { stdout } = await runProgram('sh', ['-c', `${script} | (sleep 0.5; tail -n 2)`]);
      expect(stdout).toBe('100000\nthe end\n');
    },
  );

  test.each([
    ['a pipe', (command: string) => `${command} | head -n 1`],
    ['a socket', (command: string) => `node -e '${oneLine}' ${command}`],
  ])('it ends when nobody reads its output any more: %s', async (_, wrap) => {
    const pipeline = wrap(`${words()} run --rm busybox yes`);
    const started = Date.now();
    expect(await runProgram('sh', ['-c', pipeline])).toMatchObject({ code: 0, stdout: 'y\n' });
    expect(Date.now() - started).toBeLessThan(10_000);
    await until('the container of yes is gone', () => engine.states().length === 0);
  });

  test('closed from the start, it is no reason to hang', async () => {
    const script = `${words()} run --rm busybox true >&- 2>&- <&-; echo $?`;
    expect(await runProgram('sh', ['-c', script])).toMatchObject({ code: 0, stdout: '0\n' });
  });

  test('a file is the container’s own: it can seek in it', async () => {
    const file = `${engine.folder}/output`;
    await runProgram('sh', ['-c', `${words()} run --rm busybox sh -c 'cat /proc/1/fdinfo/1' > ${file}`]);
    expect(readFileSync(file, 'utf8')).toMatch(/^pos:\t0\nflags:\t/);
    await runProgram('sh', ['-c', `${words()} run --rm busybox truncate -s 100 /proc/self/fd/1 > ${file}`]);
    expect(statSync(file).size).toBe(100);
  });

  test('/dev/stdout and /dev/stderr can be opened by name, by an ordinary user too', async () => {
    const result = await engine.shell('echo out > /dev/stdout; echo err > /dev/stderr', '-u', 'nobody');
    expect(result).toMatchObject({ code: 0, stdout: 'out\n', stderr: 'err\n' });
  });

  test('what a process of the background writes after the command’s end is nobody’s: run does not wait', async () => {
    const started = Date.now();
    const result = await engine.shell('sleep 30 & echo done');
    expect(result).toMatchObject({ code: 0, stdout: 'done\n' });
    expect(Date.now() - started).toBeLessThan(10_000);
  });
});

describe('the command’s words', needs({ root: true }), () => {
  test('everything behind the image is the command’s, options too', async () => {
    const words = ['-n', '--rm', '-it', 'a  b', '', 'ö$x`', '--', '--tty=false'];
    const { stdout } = await engine.run(
      'run',
      '--rm',
      'busybox',
      'sh',
      '-c',
      'for w; do echo "<$w>"; done',
      'sh',
      ...words,
    );
    expect(stdout).toBe(words.map((word) => `<${word}>\n`).join(''));
  });

  test('-- may stand before the image', async () => {
    expect(await engine.run('run', '--rm', '--', 'busybox', 'echo', '--')).toMatchObject({ code: 0, stdout: '--\n' });
  });

  test('global options may be given by the environment', async () => {
    const env = { TINYCTR_ROOT: engine.root, TINYCTR_RUN_ROOT: engine.runRoot };
    const result = await runProgram(engine.command[0]!, ['run', '--rm', 'busybox', 'echo', 'hi'], { env });
    expect(result).toMatchObject({ code: 0, stdout: 'hi\n' });
  });

  test('the launcher needs no PATH, works through a link, and starts from any folder', async () => {
    const link = `${engine.folder}/a-link`;
    await runProgram('ln', ['-s', engine.command[0]!, link]);
    const args = [...engine.command.slice(1), 'run', '--rm', 'busybox', 'echo', 'hi'];
    const result = await runProgram(link, args, { env: { PATH: '' }, cwd: '/' });
    expect(result).toMatchObject({ code: 0, stdout: 'hi\n', stderr: '' });
  });
});

describe('afterwards', needs({ root: true }), () => {
  test('with --rm nothing is left', async () => {
    const cidfile = `${engine.folder}/gone`;
    await engine.run('run', '--rm', '--cidfile', cidfile, 'busybox', 'sh', '-c', 'echo x > /file; mkdir -p /a/b');
    const id = readFileSync(cidfile, 'utf8');
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(engine.containers()).not.toContain(id);
    expect(engine.states()).toEqual([]);
    expect(cgroups()).not.toContain(id);
    expect(mountsBelow(engine.folder)).toEqual([]);
  });

  test('without, the container and what it wrote is there until rm', async () => {
    await engine.run('run', '--name', 'kept', 'busybox', 'sh', '-c', 'echo written > /file; exit 7');
    const id = engine.containers()[0]!;
    expect(readFileSync(`${engine.root}/containers/${id}/upper/file`, 'utf8')).toBe('written\n');
    expect((await engine.run('ps')).stdout).not.toContain('kept');
    expect((await engine.run('ps', '-a')).stdout).toMatch(/Exited \(7\) .* ago +kept\n/);
    expect(await engine.run('rm', 'kept')).toMatchObject({ code: 0, stdout: 'kept\n' });
    expect(engine.containers()).toEqual([]);
  });

  test('a caller’s umask is not the container’s: its users can read what is theirs', async () => {
    const words = ['run', '--rm', '-u', 'nobody', 'busybox', 'sh', '-c', 'umask; cat /etc/hostname /etc/hosts'];
    const script = 'umask 077; exec "$@"';
    const { code, stdout, stderr } = await runProgram('sh', ['-c', script, 'sh', ...engine.command, ...words]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^0022\n[0-9a-f]{12}\n127\.0\.0\.1/);
  });

  test('a container that could not start leaves nothing, with or without --rm', async () => {
    const before = cgroups();
    const failing = [
      ['busybox', 'no-such-command'],
      ['-v', '/no/such/source:/x', 'busybox', 'true'],
      ['--sysctl', 'net.ipv4.ip_forward=abc', 'busybox', 'true'],
      ['-u', 'no-such-user', 'busybox', 'true'],
      ['-v', `${checkout}/package.json:/etc`, 'busybox', 'true'],
      ['-w', '/etc/passwd', 'busybox', 'true'],
      ['--ulimit', 'nofile=1:2', '-v', '/no/such/source:/x', '--name', 'x1', 'busybox', 'true'],
    ];
    for (const words of failing) {
      const { code } = await engine.run('run', ...words);
      expect([125, 126, 127]).toContain(code);
    }
    expect(engine.containers()).toEqual([]);
    expect(engine.states()).toEqual([]);
    expect(mountsBelow(engine.folder)).toEqual([]);
    expect(cgroups().filter((name) => !before.includes(name))).toEqual([]);
  });

  test('the folders are root’s alone', async () => {
    const { stdout } = await runProgram('stat', [
      '-c',
      '%a %u',
      engine.root,
      engine.runRoot,
      `${engine.root}/containers`,
    ]);
    expect(stdout).toBe('700 0\n700 0\n700 0\n');
  });
});
