/** exec as only tinyctr-oci has it: what the container's own processes can do to one that enters, what a crash leaves, terminals. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { processesIn } from '../../src/lifecycle/processes.ts';
import type { Spec } from '../../src/spec/types.ts';
import { digest } from '../support/decoy.ts';
import { needs } from '../support/need.ts';
import { Pty } from '../support/pty.ts';
import { checkout, mountsBelow, type Result, readIfThere, runProgram, until } from '../support/tinyctr.ts';
import { differs, ours, Runtime, runtime } from './oci-support.ts';

const idle = 'while :; do sleep 1; done';
/** Makes itself a subreaper, runs the words after the first, and says who came to it and how that ended. */
const subreaper = `
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
status = subprocess.call(sys.argv[2:])
pid = int(open(sys.argv[1]).read())
found, ended = os.waitpid(pid, 0)
print(status, found == pid, os.waitstatus_to_exitcode(ended))
`;

describe(`${runtime} exec`, needs({ root: true }), () => {
  let oci: Runtime;
  let words: string[];

  beforeAll(async () => {
    oci = await Runtime.prepare(runtime);
    words = [...oci.command, 'exec'];
    await start('c');
  });

  afterAll(async () => {
    await oci.deleteAll();
    expect(mountsBelow(oci.folder)).toEqual([]);
    await oci.end();
  });

  async function start(id: string, script = idle, change?: (spec: Spec) => void): Promise<number> {
    await oci.create(oci.bundle(script, change), id);
    expect(await oci.call('start', id)).toMatchObject({ code: 0 });
    return JSON.parse((await oci.call('state', id)).stdout).pid;
  }
  const exec = (...more: string[]): Promise<Result> => oci.call('exec', ...more);
  const shell = (script: string, ...options: string[]) => exec(...options, 'c', 'sh', '-c', script);
  const pidsOf = (id: string) => processesIn(`${cgroupRoot()}${oci.cgroup(id)}`);

  describe('SEC-02: no descriptor of the host', () => {
    test(
      'no /proc/self/fd/N is a working directory, N from 3 to 64, nor what else leads out',
      differs(runtime, 'exec-cwd-proc'),
      async () => {
        const folders = Array.from({ length: 62 }, (_, i) => `/proc/self/fd/${i + 3}`);
        folders.push('/proc/self/cwd', '/proc/self/root', '/proc/1/cwd', '/proc/1/fd/3');
        for (let i = 0; i < folders.length; i += 6) {
          const some = folders.slice(i, i + 6);
          const results = await Promise.all(some.map((cwd) => shell('echo it ran', '--cwd', cwd)));
          for (const result of results) expect(result).toMatchObject({ code: 255, stdout: '' });
        }
      },
    );

    test(
      'nothing but 0, 1 and 2 is open, whatever the caller left open; --preserve-fds adds what it says',
      differs(runtime, 'exec-stdio'),
      async () => {
        const folder = openSync('/', 'r');
        const file = openSync('/etc/hostname', 'r');
        const result = async (...options: string[]) => {
          const child = spawn(
            words[0]!,
            [...words.slice(1), ...options, 'c', 'sh', '-c', 'for fd in /proc/$$/fd/*; do readlink $fd; done; cat <&3'],
            {
              stdio: ['ignore', 'pipe', 'ignore', file, folder, folder],
            },
          );
          let output = '';
          child.stdout!.on('data', (data) => {
            output += data;
          });
          await new Promise((resolve) => child.once('close', resolve));
          return output;
        };
        expect(await result()).toMatch(/^\/dev\/null\npipe:.*\n\/dev\/null\n$/);
        const own = readFileSync('/etc/hostname', 'utf8');
        const preserved = await result('--preserve-fds', '1');
        expect(preserved).toMatch(/^\/dev\/null\npipe:.*\n\/dev\/null\n\/.*hostname\n/);
        expect(preserved.endsWith(own)).toBe(true);
        for (const fd of [folder, file]) closeSync(fd);
      },
    );
  });

  test('SEC-01: /proc/self/exe, by name, as a link and as an interpreter, and a container that writes to every exe', async () => {
    const programs = [
      process.execPath,
      ...['dist/tinyctr-oci.bundle.cjs', 'native-shim/build/stage'].map((f) => `${checkout}/${f}`),
    ];
    const before = programs.map(digest);
    const writer =
      'while :; do for e in /proc/[0-9]*/exe; do case $(readlink $e) in /bin/*) ;; *) (: >> $e) && echo wrote $e;; esac; done; done';
    await start('writer', `${writer} 2>/dev/null`, ({ root, process }) => {
      root!.readonly = false;
      process!.capabilities!.effective!.push('CAP_DAC_OVERRIDE');
    });
    const rootfs = JSON.parse((await oci.call('state', 'writer')).stdout).rootfs;
    symlinkSync('/proc/self/exe', `${rootfs}/link`);
    writeFileSync(`${rootfs}/script`, '#!/proc/self/exe\n', { mode: 0o755 });
    for (const command of ['/proc/self/exe', '/link', '/script', '/proc/1/exe']) {
      const { code, stdout } = await exec('writer', command);
      expect({ command, ran: code === 0, stdout }).toEqual({
        command,
        ran: command === '/proc/1/exe' && code === 0,
        stdout: '',
      });
    }
    await Promise.all(Array.from({ length: 10 }, () => exec('writer', 'true')));
    expect(readIfThere(`${oci.folder}/output-writer`)).toBe('');
    expect(programs.map(digest)).toEqual(before);
    await oci.call('delete', '--force', 'writer');
  });

  test('SEC-09: the inheritable set is empty, for every user and with --cap', async () => {
    for (const options of [
      [],
      ['--user', '1000'],
      ['--cap', 'CAP_SYS_ADMIN'],
      ['--cap', 'CAP_NET_RAW', '--user', '5:5'],
    ])
      expect((await shell('grep -E "Cap(Inh|Amb)" /proc/self/status', ...options)).stdout).toBe(
        `CapInh:\t${'0'.repeat(16)}\nCapAmb:\t${'0'.repeat(16)}\n`,
      );
  });

  describe('SEC-21: the container’s own processes', needs({ command: 'cc' }), () => {
    /** What the attacker prints while `times` execs enter; stops when it got hold of one. */
    async function attacked(id: string, seconds: number, capabilities: string[]): Promise<string> {
      const bundle = oci.bundle(`exec /attach ${seconds}`, ({ process }) => {
        for (const set of ['bounding', 'effective', 'permitted'] as const)
          process!.capabilities![set]!.push(...capabilities);
      });
      execFileSync('cc', ['-static', '-O2', '-o', `${bundle}/rootfs/attach`, `${checkout}/test/support/attach.c`]);
      const { output } = await oci.create(bundle, id);
      await oci.call('start', id);
      await until('the attacker', () => output().includes('ready'));
      while (!/\n./.test(output())) await Promise.all([1, 2, 3].map(() => exec(id, 'true')));
      await oci.call('delete', '--force', id);
      return output();
    }

    test('can’t attach to one that enters, nor open what it has', async () => {
      // Process 1 is the attacker itself: `tried all` says that there were others.
      expect(await attacked('attacked', 4, [])).toBe('ready\ntried all\n');
    });

    test(
      'with CAP_SYS_PTRACE of the host they could, as docs/oci.md says (so the test above is not the attacker’s weakness)',
      ours(runtime, 'the attacker finds the stage or node'),
      async () => {
        expect(await attacked('lent', 20, ['CAP_SYS_PTRACE'])).toMatch(
          /^ready\n\w+(\/\d)? \d+ \/memfd:stage|^ready\n\w+(\/\d)? \d+ .*(node|tinyctr-oci)\n/,
        );
      },
    );
  });

  test(
    'a process of the container that kills whoever enters: exec says so, and nothing is left',
    ours(runtime, 'its own words for a stage that is killed'),
    async () => {
      const killer =
        'cd /proc; echo ready; while :; do for p in [0-9]*; do [ $p -gt 1 ] && kill -9 $p; done 2>/dev/null; done';
      const { output } = await oci.create(oci.bundle(killer), 'killer');
      await oci.call('start', 'killer');
      await until('the killer', () => output().includes('ready'));
      const all = await Promise.all([1, 2, 3, 4].map(() => exec('killer', 'sleep', '5')));
      for (const { code, stderr } of all)
        if (code !== 137)
          expect({ code, stderr }).toEqual({
            code: 255,
            stderr: expect.stringMatching(/start container process: the stage ended/),
          });
      expect(await oci.status('killer')).toBe('running');
      await until('nobody there', () => pidsOf('killer').length === 1);
      await oci.call('delete', '--force', 'killer');
    },
  );

  test('a pid file that can’t be written is an error, and nothing runs on', async () => {
    for (const options of [[], ['--detach']]) {
      const { code, stderr } = await shell('exec sleep 96', ...options, '--pid-file', '/not/there/pid');
      expect({ code, stderr }).toEqual({ code: 255, stderr: expect.stringContaining('/not/there') });
      await until(
        'its end',
        () => !pidsOf('c').some((pid) => readIfThere(`/proc/${pid}/cmdline`).startsWith('sleep\x0096')),
      );
    }
  });

  describe('a crash', ours(runtime, 'exec of runc, killed, leaves its process behind (foreground-dies)'), () => {
    test.each([2, 20, 26, 30, 33, 36, 39, 42, 46, 50, 60, 80])(
      'after %i ms leaves nothing of a foreground exec',
      async (afterMs) => {
        const before = pidsOf('c').length;
        const child = spawn(words[0]!, [...words.slice(1), 'c', 'sleep', '98'], { stdio: 'ignore' });
        await killed(child, afterMs);
        await until(
          'its process to end',
          () => !pidsOf('c').some((pid) => readIfThere(`/proc/${pid}/cmdline`).startsWith('sleep\x0098')),
        );
        await until(
          'the stage to end',
          () => !pidsOf('c').some((pid) => readIfThere(`/proc/${pid}/comm`).startsWith('memfd')),
        );
        await until('others', () => pidsOf('c').length <= before);
      },
    );

    test.each([26, 30, 34, 38, 42, 46, 50, 60])(
      'after %i ms leaves of a detached one all or nothing',
      async (afterMs) => {
        const child = spawn(words[0]!, [...words.slice(1), '--detach', 'c', 'sleep', '97'], { stdio: 'ignore' });
        await killed(child, afterMs);
        const isWhole = (pid: number) => !readIfThere(`/proc/${pid}/comm`).startsWith('memfd');
        await until('no stage', () => pidsOf('c').every(isWhole));
        for (const pid of pidsOf('c'))
          if (readIfThere(`/proc/${pid}/cmdline`).startsWith('sleep\x0097')) process.kill(pid, 'SIGKILL');
      },
    );

    test(
      'of the container during exec is an exec that ran, or a container that has stopped',
      ours(runtime, 'its own words for a container that dies meanwhile'),
      async () => {
        for (let round = 0; round < 4; round++) {
          const pid = await start('dying');
          const all = Array.from({ length: 6 }, () => exec('dying', 'true'));
          await new Promise((resolve) => setTimeout(resolve, 30 + 25 * round));
          process.kill(pid, 'SIGKILL');
          for (const { code, stderr } of await Promise.all(all)) {
            if (code === 0 || code === 137) continue;
            expect({ code, stderr }).toEqual({
              code: 255,
              stderr: expect.stringContaining('cannot exec in a stopped container'),
            });
          }
          expect(await oci.call('delete', '--force', 'dying')).toMatchObject({ code: 0, stderr: '' });
        }
      },
    );
  });

  describe('a terminal', needs({ command: 'setsid' }), () => {
    test('of its own, in the foreground: size, keys, signals, status, and the caller’s as it was', async () => {
      const pty = new Pty([...words, '-t', 'c', 'sh'], { rows: 33, columns: 99 });
      await pty.shows(/# /);
      pty.type('tty; stty size; sh -c "echo waiting; exec sleep 50"\r');
      await pty.shows(/\/dev\/pts\/\d+\r\n33 99\r\nwaiting\r\n/);
      pty.resize(20, 60);
      pty.type('\x03');
      await pty.shows(/# /);
      pty.type('stty size\r');
      await pty.shows(/20 60\r\n/);
      pty.type('exit 5\r');
      expect(await pty.ended).toBe(5);
      expect(pty.settingsAfter).toBe(pty.settings);
    });

    test(
      'of the caller’s is not given away, and what it left behind does not hold it',
      differs(runtime, 'exec-left-behind'),
      async () => {
        const started = Date.now();
        const pty = new Pty([...words, 'c', 'sh', '-c', 'test -t 1 || echo no terminal; sleep 10 &']);
        expect(await pty.ended).toBe(0);
        expect(pty.screen).toBe('no terminal\r\n');
        expect(Date.now() - started).toBeLessThan(8000);
      },
    );
  });

  test(
    'detached, it is the child of the next subreaper, which gets its status',
    needs({ command: 'python3' }),
    async () => {
      const file = `${oci.folder}/pid-subreaper`;
      const command = [...words, '--detach', '--pid-file', file, 'c', 'sh', '-c', 'sleep 0.3; exit 9'];
      const { stdout } = await runProgram('python3', ['-c', subreaper, file, ...command]);
      expect(stdout).toBe('0 True 9\n');
    },
  );

  test(
    'a cgroup below the container’s takes it, one beside it does not',
    ours(runtime, 'runc waits in the frozen cgroup (exec-cgroup)'),
    async () => {
      const cgroup = `${cgroupRoot()}${oci.cgroup('c')}/below`;
      mkdirSync(cgroup);
      expect((await shell('grep ^0: /proc/self/cgroup', '--cgroup', 'below')).stdout).toBe('0::/below\n');
      for (const path of ['..', 'below/../..', 'missing'])
        expect(await shell('true', '--cgroup', path)).toMatchObject({ code: 255, stdout: '' });
      writeFileSync(`${cgroup}/cgroup.freeze`, '1');
      expect((await shell('true', '--cgroup', 'below')).stderr).toContain('is frozen');
      await until('nobody there', () => readIfThere(`${cgroup}/cgroup.procs`) === '');
      rmdirSync(cgroup);
    },
  );

  test('the oom score is the container’s, or process.json’s', differs(runtime, 'exec-oom-score'), async () => {
    await start('score', idle, ({ process }) => Object.assign(process!, { oomScoreAdj: 123 }));
    expect((await exec('score', 'cat', '/proc/self/oom_score_adj')).stdout).toBe('123\n');
    const file = `${oci.folder}/score.json`;
    const base = { user: { uid: 5, gid: 5 }, args: ['cat', '/proc/self/oom_score_adj'], env: ['PATH=/bin'], cwd: '/' };
    writeFileSync(file, JSON.stringify({ ...base, oomScoreAdj: 321 }));
    expect((await exec('--process', file, 'score')).stdout).toBe('321\n');
    await oci.call('delete', '--force', 'score');
  });

  test('errors go to the log as JSON, one entry each, for clients to parse', async () => {
    const log = `${oci.folder}/log`;
    const words = ['--log', log, '--log-format', 'json', 'exec', 'c', 'nothing'];
    expect(await runProgram(oci.command[0]!, [...oci.command.slice(1), ...words])).toMatchObject({ code: 255 });
    expect(JSON.parse(readFileSync(log, 'utf8')).msg).toMatch(
      /^exec failed: unable to start container process: exec: "nothing": executable file not found in \$PATH/,
    );
  });

  test('an interpreter that is missing is named', differs(runtime, 'error-texts'), async () => {
    const rootfs = JSON.parse((await oci.call('state', 'c')).stdout).rootfs;
    writeFileSync(`${rootfs}/script`, '#!/not/there\n', { mode: 0o755 });
    const { code, stderr } = await exec('c', '/script');
    expect(code).toBe(255);
    expect(stderr).toContain(
      'exec /script: no such file or directory: its #! line names "/not/there", which does not exist',
    );
  });

  test('--debug shows every system call of it', ours(runtime, 'its own steps'), async () => {
    const { stderr } = await oci.call('--debug', 'exec', 'c', 'true');
    expect(stderr).toMatch(/^time="\S+" level=debug msg="namespaces\.enter +setns\(\d+, /m);
  });
});

async function killed(child: ChildProcess, afterMs: number): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  child.kill('SIGKILL');
  await ended;
}
