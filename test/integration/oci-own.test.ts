/** What is tinyctr-oci's own: its errors, its options, the gate that a created container waits at. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import type { Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { mountsBelow, runProgram, until } from '../support/tinyctr.ts';
import { differs, jsonPlace, ours, Runtime, runtime, terminalClient } from './oci-support.ts';

const sleep = 'while :; do sleep 0.05; done';

describe(`${runtime}`, needs({ root: true }), () => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(runtime);
  });

  afterEach(async () => {
    await oci.deleteAll();
    await oci.call('delete', '--force', 'nobody'); // takes away what a create left that was killed before it had a name
    expect(traces(oci)).toEqual({ states: [], cgroups: [], mounts: [] });
  });

  afterAll(() => oci.end());

  describe('the command line', () => {
    test('--version says which specification it is', ours(runtime, 'its own name'), async () => {
      const { code, stdout } = await oci.call('--version');
      expect({ code, stdout }).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^tinyctr-oci version .*\nspec: 1\.\d+\.\d+\n$/),
      });
    });

    test.each([
      ['run', 'x'],
      ['create', 'x'],
      ['exec', 'x', 'ls'],
      ['list'],
      ['state', 'x'],
      ['delete', '--force', 'x'],
    ])('%s without root is one sentence', ours(runtime, 'runc goes on to its first fault'), async (...words) => {
      const root = mkdtempSync(`${oci.folder}/private-`); // 0700
      const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', ...oci.program, '--root', root];
      const { code, stdout, stderr } = await runProgram('setpriv', [...nobody, ...words], { cwd: '/' });
      expect({ code, stdout }).toEqual({ code: words[0] === 'exec' ? 255 : 1, stdout: '' });
      const [sentence, hint] = [
        /(needs root to make .*|is not for this user: permission denied)/,
        / {2}hint: sudo tinyctr-oci …/,
      ];
      expect(stderr).toMatch(new RegExp(`^tinyctr-oci: .*${sentence.source}\n${hint.source}\n$`));
    });

    test.each([
      [['--systemd-cgroup', 'list'], '--systemd-cgroup is not there yet'],
      [['--cgroup-manager', 'systemd', 'list'], '--cgroup-manager systemd is not there yet; there is cgroupfs'],
      [['--cgroup-manager=disabled', 'run', 'x'], '--cgroup-manager disabled is left out on purpose: by its cgroup'],
      [['delete', '--regex', 'x'], '--regex is left out on purpose'],
      [['--log', 'syslog:x', 'list'], '--log syslog: is not there yet; there is file:'],
      [['--log', '/not/there/log', 'list'], "the log can't be written: ENOENT"],
      [['nonsense', '-h'], "No help topic for 'nonsense'"],
      [['checkpoint', '--help'], 'checkpoint is not there yet'],
      [['create', '--no-pivot', 'x'], '--no-pivot is left out on purpose'],
      [['--root'], "option '--root <folder>' argument missing"],
      [['nonsense'], "unknown command 'nonsense'"],
      [['state'], "missing required argument 'container-id'"],
      [['create', '--nonsense', 'x'], "unknown option '--nonsense'"],
    ])(
      '%j is refused by name',
      ours(runtime, 'what tinyctr-oci leaves out, in the words of its own parser'),
      async (words, message) => {
        const { code, stdout, stderr } = await oci.call(...words);
        expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
        expect(stderr).toContain(message);
      },
    );

    test('options are taken as --f v and as --f=v', async () => {
      for (const words of [
        ['--root', oci.root, '--log-format', 'json', 'state', 'nobody'],
        [`--root=${oci.root}`, '--log-format=json', 'state', 'nobody'],
      ]) {
        const { code, stderr } = await runProgram(oci.program[0]!, [...oci.program.slice(1), ...words]);
        expect(code).toBe(1);
        expect(JSON.parse(stderr)).toMatchObject({ level: 'error', msg: 'container does not exist' });
      }
    });

    test(
      'list of a root that is not there is an error only if it was named',
      ours(runtime, 'runc makes the folder that was named'),
      async () => {
        expect(
          await runProgram(oci.program[0]!, [...oci.program.slice(1), '--root', '/not/there', 'list']),
        ).toMatchObject({ code: 1 });
        expect(await runProgram(oci.program[0]!, [...oci.program.slice(1), 'list', '-q'])).toMatchObject({ code: 0 });
      },
    );

    test('it works without any environment, from any folder', async () => {
      const bundle = oci.bundle('echo fine');
      const words = ['-i', ...oci.command, 'run', 'bare'];
      expect(await runProgram('env', words, { cwd: bundle })).toMatchObject({ code: 0, stdout: 'fine\n', stderr: '' });
    });

    test('--debug logs every system call, to the log if there is one', ours(runtime, 'its own steps'), async () => {
      const bundle = oci.bundle('true');
      const { stderr } = await oci.call('--debug', 'run', '--bundle', bundle, 'loud');
      expect(stderr).toMatch(/^time="\S+" level=debug msg="rootfs\.pivot +pivot_root\(\\"\.\\", \\"\.\\"\) = 0"$/m);
      const log = `${bundle}/log`;
      const quiet = await oci.call('--debug', '--log', log, '--log-format', 'json', 'run', '--bundle', bundle, 'loud');
      expect(quiet.stderr).toBe('');
      const lines = readFileSync(log, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(lines.every(({ level }) => level === 'debug')).toBe(true);
      expect(lines.some(({ msg }) => msg.includes('pivot_root'))).toBe(true);
    });

    test(
      'spec writes a configuration that runs, and never over another one',
      differs(runtime, 'error-texts'),
      async () => {
        const bundle = oci.bundle('true');
        const folder = `${bundle}/new`;
        mkdirSync(folder);
        expect(await oci.call('spec', '--bundle', folder)).toMatchObject({ code: 0, stdout: '', stderr: '' });
        const text = readFileSync(`${folder}/config.json`, 'utf8');
        const again = await oci.call('spec', `--bundle=${folder}`);
        expect(again.code).toBe(1);
        expect(again.stderr).toContain('exists already');
        expect(readFileSync(`${folder}/config.json`, 'utf8')).toBe(text);
        const spec = JSON.parse(text) as Spec;
        Object.assign(spec.process!, { terminal: false, args: ['hostname'] });
        writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
        expect(await oci.run(bundle, 'spec')).toMatchObject({ code: 0, stdout: 'tinyctr\n' });
      },
    );
  });

  describe('config.json', () => {
    const refusal = async (change: (spec: Spec) => void): Promise<string> => {
      const { code, stdout, stderr } = await oci.run(oci.bundle('echo ran', change), 'refused');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      return stderr;
    };

    test(
      'all its faults come at once, each with pointer, what was found and what is allowed',
      differs(runtime, 'validation-first'),
      async () => {
        const stderr = await refusal((spec) => {
          Object.assign(spec.process!, { cwd: 'relative', oomScoreAdj: 5000, rlimits: [{ type: 'RLIMIT_NOFILE' }] });
          Object.assign(spec.linux!, { namespaces: [{ type: 'pidd' }], maskedPaths: 'none' });
        });
        expect(stderr.trim().split('\n').sort()).toEqual([
          'tinyctr-oci: config.json: /linux/maskedPaths is "none"; allowed is a list',
          'tinyctr-oci: config.json: /linux/namespaces/0/type is "pidd"; allowed is pid, network, mount, ipc, uts, user, cgroup, time',
          'tinyctr-oci: config.json: /process/cwd is "relative"; allowed is an absolute path',
          'tinyctr-oci: config.json: /process/oomScoreAdj is 5000; allowed is a whole number from -1000 to 1000',
          'tinyctr-oci: config.json: /process/rlimits/0/hard is missing; it must be a whole number from -1 to 18446744073709552000',
          'tinyctr-oci: config.json: /process/rlimits/0/soft is missing; it must be a whole number from -1 to 18446744073709552000',
        ]);
      },
    );

    test.each<[string, (spec: Spec) => void]>([
      ['/linux/intelRdt', ({ linux }) => Object.assign(linux!, { intelRdt: { closID: 'x' } })],
    ])(
      '%s is refused by its pointer: it is not there yet',
      differs(runtime, 'refused-not-ignored'),
      async (pointer, change) => {
        expect(await refusal(change)).toMatch(new RegExp(`${pointer} (is|has) .*not there yet`));
      },
    );

    test.each<[string, (spec: Spec) => void]>([
      ['/hostname would rename the host', ({ linux }) => without(linux!, 'uts')],
      [
        '/linux/sysctl/net.ipv4.ip_forward would change the host',
        ({ linux }) => {
          without(linux!, 'network');
          linux!.sysctl = { 'net.ipv4.ip_forward': '1' };
        },
      ],
      [
        '/linux/sysctl/vm.swappiness would change the host',
        ({ linux }) => Object.assign(linux!, { sysctl: { 'vm.swappiness': '1' } }),
      ],
      [
        "is the host's own uts namespace",
        ({ linux }) => {
          without(linux!, 'uts');
          linux!.namespaces!.push({ type: 'uts', path: '/proc/self/ns/uts' });
        },
      ],
    ])('what would change the host is refused: %s', differs(runtime, 'validation-first'), async (message, change) => {
      expect(await refusal(change)).toContain(message);
    });

    test('--strict refuses unknown fields, all of them at once', ours(runtime, 'an option of its own'), async () => {
      const bundle = oci.bundle('echo ran', (spec) => {
        Object.assign(spec, { hoks: {} });
        Object.assign(spec.process!, { argz: ['x'] });
      });
      const { code, stdout, stderr } = await oci.call('--strict', 'run', '--bundle', bundle, 'strict');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain('/hoks is unknown');
      expect(stderr).toContain('/process/argz is unknown; did you mean args?');
    });

    test('features is JSON, with what features.md requires', differs(runtime, 'newer-than-runc-1.1'), async () => {
      const { code, stdout } = await oci.call('features');
      expect(code).toBe(0);
      const found = JSON.parse(stdout);
      expect(found).toMatchObject({
        ociVersionMin: '1.0.0',
        ociVersionMax: '1.3.0',
        linux: { seccomp: { enabled: true } },
      });
      expect(found.annotations['io.github.seccomp.libseccomp.version']).toMatch(/^\d+\.\d+\.\d+$/);
    });

    test(
      'an unknown field is ignored with a warning that offers the likely spelling',
      differs(runtime, 'unknown-fields'),
      async () => {
        const bundle = oci.bundle('echo ran', (spec) => Object.assign(spec.process!, { enviroment: [], argz: [] }));
        const { code, stdout, stderr } = await oci.run(bundle, 'unknown');
        expect({ code, stdout }).toEqual({ code: 0, stdout: 'ran\n' });
        expect(stderr).toContain('warning: config.json: /process/argz is unknown and ignored; did you mean args?');
      },
    );

    test(
      'a capability that is unknown or can not be given is left out with a warning',
      differs(runtime, 'error-texts'),
      async () => {
        const bundle = oci.bundle('grep CapPrm /proc/self/status', ({ process }) => {
          process!.capabilities = { permitted: ['CAP_KILL', 'CAP_KIL'] };
        });
        const { code, stdout, stderr } = await oci.run(bundle, 'capability');
        expect({ code, stdout }).toEqual({ code: 0, stdout: 'CapPrm:\t0000000000000000\n' });
        expect(stderr).toContain('the capability CAP_KIL is unknown; did you mean CAP_KILL');
      },
    );

    test(
      'what is no JSON is told with line and column; what is not there by its path',
      differs(runtime, 'error-texts'),
      async () => {
        const bundle = oci.bundle('true');
        writeFileSync(`${bundle}/config.json`, '{\n  "ociVersion": 1.0.0\n}');
        expect((await oci.run(bundle, 'json')).stderr).toContain(
          `config.json is not JSON${jsonPlace(', line 2, column ')}`,
        );
        expect((await oci.run(`${bundle}/nowhere`, 'json')).stderr).toContain(
          `${bundle}/nowhere/config.json: no such file or directory`,
        );
        const rootless = oci.bundle('true', ({ root }) => Object.assign(root!, { path: 'nothing' }));
        expect((await oci.run(rootless, 'json')).stderr).toMatch(/nothing: no such file or directory\n.*\/root\/path/);
      },
    );

    test(
      'cgroupsPath is honoured below the root of the hierarchy, a relative one below /tinyctr-oci',
      differs(runtime, 'cgroup-default'),
      async () => {
        try {
          for (const [cgroupsPath, expected] of [
            [`/tinyctr-test-${process.pid}/deep/one`, `/tinyctr-test-${process.pid}/deep/one`],
            ['some/where', '/tinyctr-oci/some/where'],
            [undefined, '/tinyctr-oci/cgroup'],
          ] as const) {
            const bundle = oci.bundle(sleep, ({ linux }) => Object.assign(linux!, { cgroupsPath }));
            await oci.create(bundle, 'cgroup');
            const { pid } = JSON.parse((await oci.call('state', 'cgroup')).stdout);
            expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toMatch(new RegExp(`^0::${expected}$`, 'm'));
            await oci.call('delete', '--force', 'cgroup');
            expect(existsSync(cgroupRoot() + expected)).toBe(false);
          }
        } finally {
          // The parents stay, by design; they are this test's.
          await runProgram('rmdir', ['-p', `tinyctr-test-${process.pid}/deep`], { cwd: cgroupRoot() });
          for (const cwd of [cgroupRoot(), `${cgroupRoot()}/tinyctr-oci`])
            await runProgram('rmdir', ['some'], { cwd: existsSync(cwd) ? cwd : '/' });
        }
      },
    );

    test('a cgroup that is there already is taken if nobody uses it', differs(runtime, 'cgroup-taken'), async () => {
      const cgroupsPath = `/tinyctr-test-${process.pid}-again`;
      const bundle = oci.bundle(sleep, ({ linux }) => Object.assign(linux!, { cgroupsPath }));
      mkdirSync(cgroupRoot() + cgroupsPath);
      expect((await oci.create(bundle, 'first')).output()).toBe('');
      const again = await oci.create(bundle, 'second');
      expect(again.output()).toContain(`container's cgroup is not empty: ${cgroupsPath} belongs to container first`);
      expect(again.code).toBe(1);
      const elsewhere = new Runtime(oci.engine, runtime);
      expect((await elsewhere.create(bundle, 'second')).output()).toMatch(
        /exists already, and is in use: container's cgroup is not empty: process \d+ is in/,
      );
      expect(await oci.status('first')).toBe('created');
      await oci.call('delete', '--force', 'first');
      expect(existsSync(cgroupRoot() + cgroupsPath)).toBe(false);
    });

    test(
      'remount: of the container’s mount alone, never outside of the root',
      ours(runtime, 'no flag goes that is not named'),
      async () => {
        const host = `${oci.folder}/host`;
        mkdirSync(host, { recursive: true });
        const remount = (destination: string, ...options: string[]) => ({
          destination,
          type: 'none',
          options: ['remount', ...options],
        });
        const folder = oci.bundle(
          'awk \'$5 == "/b" || $5 == "/" { print $5, $6 }\' /proc/self/mountinfo; touch /b/x',
          ({ mounts, root }) => {
            root!.readonly = false;
            mounts!.push({ destination: '/b', type: 'bind', source: host, options: ['bind', 'nosuid', 'nodev', 'ro'] });
            mounts!.push(remount('/b', 'rw', 'noexec'), remount('/', 'nodev'));
          },
        );
        const { code, stdout, stderr } = await oci.run(folder, 'flags');
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        expect(stdout).toMatch(/^\/ rw,nodev/m);
        expect(stdout).toMatch(/^\/b rw,nosuid,nodev,noexec/m);
        expect(existsSync(`${host}/x`)).toBe(true);

        const sized = await refusal(({ mounts }) => mounts!.push(remount('/b', 'size=1m')));
        expect(sized).toContain('/mounts/7/options is refused: a remount changes flags of the mount on /b, not size');

        for (const [destination, words] of [
          ['/etc', "can't remount /etc: nothing is mounted there"],
          ['/none', "can't remount /none: there is nothing in the container"],
          ['/out', "can't remount /out: there is nothing in the container"], // a link to a mount of the host's, not the container's
        ] as const) {
          const bundle = oci.bundle('echo ran', ({ mounts }) => mounts!.push(remount(destination, 'ro')));
          symlinkSync(`../../../../../..${host}`, `${bundle}/rootfs/out`);
          const { code, stdout, stderr } = await oci.run(bundle, 'nowhere');
          expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
          expect(stderr).toContain(words);
          expect(stderr).toMatch(/spec field: \/mounts\/7/);
        }
      },
    );

    test('a hierarchy that is mounted read-only is said to be', differs(runtime, 'error-texts'), async () => {
      const bundle = oci.bundle('echo ran');
      const script = `mount -o bind,remount,ro ${cgroupRoot()} && exec "$@" run --bundle ${bundle} ro`;
      const words = ['-m', 'sh', '-c', script, 'sh', ...oci.command];
      expect(await runProgram('unshare', words)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/can't make the cgroup \S+: the hierarchy is mounted read-only here/),
      });
    });

    test(
      'without a cgroup namespace the container sees its own branch of the tree, not the host’s',
      differs(runtime, 'cgroup-mount'),
      async () => {
        const bundle = oci.bundle('ls -d /sys/fs/cgroup/*/; cat /sys/fs/cgroup/cgroup.procs | wc -l', ({ linux }) =>
          without(linux!, 'cgroup'),
        );
        const { code, stdout } = await oci.run(bundle, 'branch');
        expect({ code, stdout: stdout.trim() }).toEqual({ code: 0, stdout: expect.stringMatching(/^[1-4]$/) });
      },
    );
  });

  describe('create and start', () => {
    test('what waits is the stage, below 300 kB, and not Node', differs(runtime, 'stage-waits'), async () => {
      await oci.create(oci.bundle(sleep), 'small');
      const { pid } = JSON.parse((await oci.call('state', 'small')).stdout);
      expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('memfd:stage\n');
      expect(Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1])).toBeLessThan(300);
    });

    test(
      'a program whose interpreter is missing is an error of start, and the container has stopped',
      differs(runtime, 'start-reports-exec'),
      async () => {
        const bundle = oci.bundle('', ({ process }) => Object.assign(process!, { args: ['/script'] }));
        writeFileSync(`${bundle}/rootfs/script`, '#!/not/there\n');
        chmodSync(`${bundle}/rootfs/script`, 0o755);
        expect((await oci.create(bundle, 'script')).code).toBe(0);
        const { code, stderr } = await oci.call('start', 'script');
        expect(code).toBe(1);
        expect(stderr).toContain('exec /script: no such file or directory');
        expect(await oci.status('script')).toBe('stopped');
      },
    );

    test(
      'a seccomp profile that forbids what comes next is an error of start',
      differs(runtime, 'start-reports-exec'),
      async () => {
        const bundle = oci.bundle('true', ({ linux }) => {
          linux!.seccomp = {
            defaultAction: 'SCMP_ACT_ALLOW',
            syscalls: [{ names: ['execve'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }],
          };
        });
        await oci.create(bundle, 'forbidden');
        const { code, stderr } = await oci.call('start', 'forbidden');
        expect(code).toBe(1);
        expect(stderr).toContain('permission denied');
        expect(await oci.status('forbidden')).toBe('stopped');
      },
    );

    test('a container that died before its start can not be started', async () => {
      await oci.create(oci.bundle(sleep), 'dead');
      expect(await oci.call('kill', 'dead', '9')).toMatchObject({ code: 0 });
      await oci.untilStatus('dead', 'stopped');
      expect((await oci.call('start', 'dead')).stderr).toContain('cannot start a container that has stopped');
    });

    test('of several starts at once exactly one wins', ours(runtime, 'the others may wait (start-race)'), async () => {
      await oci.create(oci.bundle(sleep), 'race');
      const results = await Promise.all([1, 2, 3, 4].map(() => oci.call('start', 'race')));
      expect(results.map(({ code }) => code).sort()).toEqual([0, 1, 1, 1]);
    });

    test('of several creates at once exactly one wins', async () => {
      const bundles = [1, 2, 3].map(() => oci.bundle(sleep));
      const results = await Promise.all(bundles.map((bundle) => oci.create(bundle, 'race')));
      expect(results.map(({ code }) => code).sort()).toEqual([0, 1, 1]);
      expect(await oci.status('race')).toBe('created');
    });

    test('run --detach leaves it running, run --keep keeps its state', async () => {
      const detached = spawn(
        oci.command[0]!,
        [...oci.command.slice(1), 'run', '-d', '-b', oci.bundle(sleep), 'behind'],
        { stdio: 'ignore' },
      );
      expect(await new Promise((resolve) => detached.once('exit', resolve))).toBe(0);
      expect(await oci.status('behind')).toBe('running');
      expect(await oci.run(oci.bundle('exit 3'), 'kept', '--keep')).toMatchObject({ code: 3 });
      expect(await oci.status('kept')).toBe('stopped');
      expect(await oci.call('delete', 'kept')).toMatchObject({ code: 0 });
    });

    test('the terminal of a created container goes to the socket', needs({ command: 'python3' }), async () => {
      const bundle = oci.bundle('tty; stty size; echo end', ({ process }) => {
        Object.assign(process!, { terminal: true, consoleSize: { height: 33, width: 77 } });
      });
      const client = runProgram('python3', ['-c', terminalClient, `${bundle}/socket`]);
      await until('the socket', () => existsSync(`${bundle}/socket`));
      expect(await oci.create(bundle, 'tty', '--console-socket', `${bundle}/socket`)).toMatchObject({ code: 0 });
      expect(await oci.call('start', 'tty')).toMatchObject({ code: 0 });
      expect((await client).stdout.replaceAll('\r', '')).toBe('/dev/pts/0\n33 77\nend\n');
    });

    test(
      'a terminal needs a socket that takes it, and the other way round',
      differs(runtime, 'error-texts'),
      async () => {
        const bundle = oci.bundle('tty', ({ process }) => Object.assign(process!, { terminal: true }));
        expect((await oci.create(bundle, 'tty')).output()).toContain('use --console-socket');
        const { output } = await oci.create(bundle, 'tty', '--console-socket', `${bundle}/nobody`);
        expect(output()).toContain(`failed to connect with --console-socket ${bundle}/nobody: nobody listens there`);
        const plain = await oci.create(oci.bundle('true'), 'tty', '--console-socket', `${bundle}/nobody`);
        expect(plain.output()).toContain('process.terminal is not true');
      },
    );
    test(
      'run in the foreground takes the container with it when it is killed, and delete takes what is left',
      differs(runtime, 'foreground-dies'),
      async () => {
        const child = spawn(oci.command[0]!, [...oci.command.slice(1), 'run', '--bundle', oci.bundle(sleep), 'crash'], {
          stdio: 'ignore',
        });
        await oci.untilStatus('crash', 'running').catch(() => oci.untilStatus('crash', 'running'));
        child.kill('SIGKILL');
        await oci.untilStatus('crash', 'stopped');
        expect(await oci.call('delete', 'crash')).toMatchObject({ code: 0, stderr: '' });
      },
    );
  });
});

function without(linux: NonNullable<Spec['linux']>, type: string): void {
  linux.namespaces = linux.namespaces!.filter((one) => one.type !== type);
}

function traces(oci: Runtime): { states: string[]; cgroups: string[]; mounts: string[] } {
  const folder = `${cgroupRoot()}/tinyctr-oci`;
  const cgroups = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }).filter((e) => e.isDirectory()) : [];
  const states = existsSync(oci.root) ? readdirSync(oci.root).filter((name) => name !== '.seccomp') : [];
  return { states, cgroups: cgroups.map(({ name }) => name), mounts: mountsBelow(oci.folder) };
}
