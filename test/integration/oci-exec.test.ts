/** One more process in a container, the same cases for tinyctr-oci and, where it is installed, runc. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Process } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { type Result, runProgram, until } from '../support/tinyctr.ts';
import { differs, Runtime, runtimes, terminalClient } from './oci-support.ts';

const idle = 'while :; do sleep 1; done';
const examples = '../shared/data/configs';
const clientsProcesses = [
  'ctr-task-exec',
  'docker-exec',
  'podman-exec',
  'podman-exec-d',
  'podman-exec-fail',
  'ctr-task-exec-missing',
];

describe.each(runtimes)('%s exec', needs({ root: true }), (name) => {
  let oci: Runtime;
  let init: number;
  const exec = (...words: string[]): Promise<Result> => oci.call('exec', ...words);
  const shell = (script: string, ...options: string[]) => exec(...options, 'c', 'sh', '-c', script);

  beforeAll(async () => {
    oci = await Runtime.prepare(name);
    const bundle = oci.bundle(idle, ({ process, linux }) => {
      Object.assign(process!, { noNewPrivileges: false, env: ['PATH=/bin', 'FROM=config', 'KEPT=yes'], cwd: '/tmp' });
      linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }],
      };
    });
    await oci.create(bundle, 'c');
    await oci.call('start', 'c');
    init = JSON.parse((await oci.call('state', 'c')).stdout).pid;
  });

  afterAll(() => oci.end());

  /** Runs `script` detached and gives its pid on the host once it has said that it is there. */
  async function detached(script: string, ...options: string[]): Promise<number> {
    const pidFile = `${oci.folder}/pid-${Math.random()}`;
    const words = ['exec', '--detach', '--pid-file', pidFile, ...options, 'c', 'sh', '-c', script];
    const { code } = await runProgram('sh', ['-c', '"$@" >/dev/null 2>&1', 'sh', ...oci.command, ...words]);
    expect(code).toBe(0);
    return Number(readFileSync(pidFile, 'utf8'));
  }

  test('it is in every namespace and in the cgroup of the container, with its root', async () => {
    const pid = await detached('sleep 30');
    await until('the program', () => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n');
    const view = (of: number) =>
      runProgram('sh', [
        '-c',
        `cd /proc/${of} && readlink ns/* && stat -Lc %d:%i root && cat cgroup && wc -l < mountinfo`,
      ]);
    expect((await view(pid)).stdout).toBe((await view(init)).stdout);
    expect((await view(pid)).stdout).toContain('user:[');
    process.kill(pid, 'SIGKILL');
  });

  test('input, output and status are the caller’s', async () => {
    const words = [...oci.command.slice(1), 'exec', 'c', 'sh', '-c', 'cat; echo to stderr >&2; exit 7'];
    expect(await runProgram(oci.command[0]!, words, { input: 'to stdin\n' })).toMatchObject({
      code: 7,
      stdout: 'to stdin\n',
      stderr: 'to stderr\n',
    });
    expect((await shell('kill -9 $$')).code).toBe(137);
  });

  test('what options say nothing about is as in config.json at create', async () => {
    const { stdout } = await shell('pwd; echo $FROM $KEPT $ADDED; umask; id -u; cat /proc/self/status; ulimit -n');
    expect(stdout).toMatch(/^\/tmp\nconfig yes\n0022\n0\n/);
    for (const [set, value] of [
      ['Inh', '0'.repeat(16)],
      ['Prm', '0000000020000420'],
      ['Bnd', '0000000020000420'],
      ['Amb', '0'.repeat(16)],
    ])
      expect(stdout).toContain(`Cap${set}:\t${value}`);
    expect(stdout).toContain('Seccomp:\t2');
    expect(stdout).toMatch(/\n1024\n$/);
  });

  test('the container’s seccomp filter holds', async () => {
    const { code, stderr } = await shell('mkdir /tmp/new');
    expect(code).not.toBe(0);
    expect(stderr).toContain('Permission denied');
    expect(existsSync(`/proc/${init}/root/tmp/new`)).toBe(false);
  });

  test('--cwd, --env, --user, --additional-gids, --cap and --no-new-privs change it', async () => {
    const options = ['--cwd', '/etc', '--env', 'FROM=option', '--env', 'ADDED=too', '--no-new-privs'];
    const who = ['--user', '1000:1001', '--additional-gids', '5', '--additional-gids', '6', '--cap', 'CAP_SYS_ADMIN'];
    const { stdout } = await shell('pwd; echo $FROM $KEPT $ADDED; id; cat /proc/self/status', ...options, ...who);
    expect(stdout).toMatch(/^\/etc\noption yes too\nuid=1000.* gid=1001.*groups=5[^ ]*6/);
    expect(stdout).toContain('NoNewPrivs:\t1');
    expect(stdout).toContain('CapBnd:\t0000000020200420');
    expect(stdout).toContain('CapEff:\t0000000000000000');
    expect((await shell('id -u; id -g', '--user', '1000')).stdout).toBe('1000\n0\n');
  });

  test('options after the container are the command’s', async () => {
    expect((await exec('c', 'echo', '--cwd', '/', '-e', '--help')).stdout).toBe('--cwd / -e --help\n');
  });

  test.each([
    ['foo', 'exec: "foo": executable file not found in $PATH'],
    ['/not/there', 'no such file or directory'],
    ['/etc/passwd', 'permission denied'],
    ['/etc', 'permission denied'],
  ])('a command that can’t be executed is an error in runc’s words: %s', async (command, message) => {
    const { code, stdout, stderr } = await exec('c', command);
    expect({ code, stdout }).toEqual({ code: 255, stdout: '' });
    expect(stderr.replaceAll('\\"', '"')).toContain('exec failed: unable to start container process: exec: ');
    expect(stderr.replaceAll('\\"', '"')).toContain(message);
  });

  test.each([
    [['nobody', 'true'], 'exec failed: container does not exist'],
    [['c'], 'exec failed: process args cannot be empty'],
    [['--cwd', 'etc', 'c', 'pwd'], 'absolute path'],
    [['--user', '0x0', 'c', 'id'], 'exec failed: '],
    [['--cgroup', 'not-there', 'c', 'id'], 'exec failed: '],
    [['--console-socket', '/x', 'c', 'id'], 'exec failed: '],
    [['--detach', '--tty', 'c', 'id'], 'exec failed: '],
    [['--process', '/not/there', 'c'], 'no such file or directory'],
  ])('%j is refused', async (words, message) => {
    const { code, stdout, stderr } = await exec(...words);
    expect({ code, stdout }).toEqual({ code: 255, stdout: '' });
    expect(stderr).toContain(message);
  });

  test('into a created container, but not into a paused one, nor one that has stopped', async () => {
    const bundle = oci.bundle(idle);
    await oci.create(bundle, 'states');
    expect((await exec('states', 'hostname')).code).toBe(0);
    await oci.call('start', 'states');
    await oci.call('pause', 'states');
    const refused = await exec('states', 'true');
    expect(refused.code).toBe(255);
    expect(refused.stderr).toContain('cannot exec in a paused container (use --ignore-paused to override)');
    const waiting = exec('--ignore-paused', 'states', 'echo', 'thawed');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await oci.call('resume', 'states');
    expect(await waiting).toMatchObject({ code: 0, stdout: 'thawed\n' });
    await oci.call('kill', 'states', 'KILL');
    await oci.untilStatus('states', 'stopped');
    const late = await exec('states', 'true');
    expect(late.code).toBe(255);
    expect(late.stderr).toContain('cannot exec in a stopped container');
    await oci.call('delete', 'states');
  });

  test('the bundle’s config.json counts as it was at create', differs(name, 'exec-config-frozen'), async () => {
    const bundle = oci.bundle(idle);
    await oci.create(bundle, 'frozen');
    writeFileSync(`${bundle}/config.json`, '{}');
    expect(await exec('frozen', 'echo', 'fine')).toMatchObject({ code: 0, stdout: 'fine\n' });
    await oci.call('delete', '--force', 'frozen');
  });

  test('twenty at once', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => exec('c', 'echo', String(i))));
    expect(all.map(({ stdout }) => stdout.trim())).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  });

  test('signals are passed on', async () => {
    const script = 'trap "echo got it; exit 3" TERM; echo ready; while :; do sleep 0.05; done';
    const words = [...oci.command.slice(1), 'exec', 'c', 'sh', '-c', script];
    let sent = false;
    const result = await runProgram(oci.command[0]!, words, {
      onStdout: (text, child) => {
        if (text.includes('ready') && !sent) sent = child.kill('SIGTERM');
      },
    });
    expect(result).toMatchObject({ code: 3, stdout: 'ready\ngot it\n' });
  });

  test('--detach leaves it as a child of whoever adopts it, with its pid in the file', async () => {
    const pid = await detached('echo $$ > /dev/null; exec sleep 30');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(/^NSpid:\t\d+\t\d+$/m);
    expect(status).not.toMatch(new RegExp(`^PPid:\\t${init}$`, 'm'));
    process.kill(pid, 'SIGKILL');
  });

  test('a terminal goes to the console socket', needs({ command: 'python3' }), async () => {
    const socket = `${oci.folder}/console`;
    const client = runProgram('python3', ['-c', terminalClient, socket]);
    await until('the socket', () => existsSync(socket));
    await detached(
      'tty; test -t 0 && test -t 2 && echo yes; readlink /proc/$$/fd/1; echo > /dev/tty',
      '--tty',
      '--console-socket',
      socket,
    );
    expect((await client).stdout.replaceAll('\r', '')).toMatch(/^\/dev\/pts\/\d+\nyes\n\/dev\/pts\/\d+\n\n$/);
  });

  describe('process.json', () => {
    const processFile = (change: Partial<Process>) => {
      const file = `${oci.folder}/process-${Math.random()}.json`;
      const base = { user: { uid: 0, gid: 0 }, args: ['sh', '-c', 'echo ok'], env: ['PATH=/bin'], cwd: '/' };
      writeFileSync(file, JSON.stringify({ ...base, ...change }));
      return file;
    };

    test('says what to execute', async () => {
      const args = ['sh', '-c', 'pwd; id -u; id -g; id -G; umask; echo $A; ulimit -n; cat /proc/self/status'];
      const file = processFile({
        args,
        cwd: '/etc',
        env: ['PATH=/bin', 'A=b'],
        user: { uid: 5, gid: 6, additionalGids: [7, 8], umask: 0o027 },
        rlimits: [{ type: 'RLIMIT_NOFILE', soft: 99, hard: 100 }],
        noNewPrivileges: true,
      });
      const { code, stdout } = await exec('--process', file, 'c');
      expect(code).toBe(0);
      const umask = differs(name, 'exec-umask').fails ? '0022' : '0027';
      expect(stdout.split('\n').slice(0, 6)).toEqual(['/etc', '5', '6', '6 7 8', umask, 'b']);
      if (!differs(name, 'exec-nofile').fails) expect(stdout.split('\n')[6]).toBe('99');
      expect(stdout).toContain('NoNewPrivs:\t1');
      expect(stdout).toContain('CapBnd:\t0000000020000420');
    });

    test.each(clientsProcesses)('%s, as a client wrote it', needs({ file: examples }), async (file) => {
      const { args } = JSON.parse(readFileSync(`${examples}/${file}.process.json`, 'utf8'));
      const { code, stdout, stderr } = await exec('--process', `${examples}/${file}.process.json`, 'c');
      if (args[0] === '/nonexistent') {
        expect(code).toBe(255);
        expect(stderr).toContain('no such file or directory');
      } else expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining('level=error') });
      if (args[0] === 'ls') expect(stdout).toContain('proc');
    });
  });
});
