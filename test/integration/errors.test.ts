/** Errors explain themselves: the notorious ones of other runtimes, provoked, and what tinyctr says about each. */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launch } from '../../src/core/container/launch.ts';
import { cgroupRoot } from '../../src/core/host/cgroup.ts';
import { destroy } from '../../src/core/host/child.ts';
import { readMountinfo } from '../../src/core/host/mountinfo.ts';
import { openNamespaces } from '../../src/core/host/namespaces.ts';
import { spawnStage } from '../../src/core/host/spawn.ts';
import * as k from '../../src/core/kernel/constants.ts';
import type { ContainerError } from '../../src/core/kernel/error.ts';
import { planContainer } from '../../src/core/plan/container.ts';
import type { Namespace } from '../../src/core/spec/types.ts';
import { type HostFd, Stage } from '../../src/core/stage/stage.ts';
import { hostMachine, machineName } from '../../src/explain/elf.ts';
import { explainFailure } from '../../src/explain/failure.ts';
import { procFault } from '../../src/explain/mount.ts';
import { needs } from '../support/need.ts';
import { checkout, Engine, type Result, runProgram, scratch } from '../support/tinyctr.ts';

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

describe('errors', needs({ root: true, command: ['unshare', 'setpriv'] }), () => {
  let engine: Engine;
  let files: string;

  beforeAll(async () => {
    engine = await new Engine().prepare();
    files = scratch(engine);
    chmodSync(files, 0o755);
  });
  afterAll(() => engine.remove());

  function put(name: string, content: string | Uint8Array, mode = 0o755): string {
    writeFileSync(`${files}/${name}`, content);
    chmodSync(`${files}/${name}`, mode);
    return `/files/${name}`;
  }

  const run = (...words: string[]) => engine.run('run', '--rm', '-v', `${files}:/files`, ...words);

  /** tinyctr, at the end of a shell script that runs in a private mount namespace. */
  function inPrivateMounts(script: string, ...words: string[]): Promise<Result> {
    const command = [...engine.command, ...words].map(quoted).join(' ');
    return runProgram('unshare', ['-m', 'sh', '-e', '-c', `${script} ${command}`]);
  }

  /** The first line, and all that is said: a chain has one root, and no line tells of an exit status. */
  function expectError({ code, stdout, stderr }: Result, exitCode: number, first: string | RegExp): void {
    const lines = stderr.trimEnd().split('\n');
    if (typeof first === 'string') expect(lines[0]).toBe(`tinyctr: ${first}`);
    else expect(lines[0]).toMatch(first);
    expect(code).toBe(exitCode);
    expect(stdout).toBe('');
    for (const line of lines.slice(1)) expect(line).toMatch(/^ {2}(because|call|where|spec field|hint): \S/);
    expect(lines.filter((line) => line.startsWith('  call:')).length).toBeLessThanOrEqual(1);
    expect(stderr).not.toMatch(/exit(ed)? (status|code)|undefined|\[object/);
  }

  describe('E1: no such file or directory, though it is there', () => {
    test('the missing interpreter is named', async () => {
      const result = await run('busybox', put('script', '#!/bin/bash\n'));
      expectError(
        result,
        127,
        'exec: "/files/script": no such file or directory: its #! line names "/bin/bash", which does not exist',
      );
      expect(result.stderr).toContain('  call: execve("/files/script", ["/files/script"], [');
      expect(result.stderr).toContain('step exec\n');
    });

    test('CRLF is named', async () => {
      const result = await run('busybox', put('crlf', '#!/bin/sh\r\necho\r\n'));
      expectError(result, 127, /its #! line names "\/bin\/sh\\r", which does not exist$/);
      expect(result.stderr).toContain("  hint: its lines end in CRLF, as on Windows: sed -i 's/\\r$//' /files/crlf\n");
    });

    test('the missing ELF loader is named', async () => {
      copyFileSync(realpathSync(process.execPath), `${files}/node`);
      const result = await run('busybox', '/files/node');
      rmSync(`${files}/node`);
      expectError(result, 127, /its ELF loader is "\/lib.*\/ld-.*", which does not exist$/);
    });

    test('behind --init it is told as well', async () => {
      const { code, stderr } = await run('--init', 'busybox', put('script', '#!/bin/bash\n'));
      expect(stderr).toBe('tinyctr: exec (with --init) fails with errno 2: /files/script\n');
      expect(code).toBe(127);
    });

    test('as another user, without a capability left', async () => {
      expectError(await run('-u', 'nobody', '--cap-drop', 'ALL', 'busybox', put('user', '#!/x\n')), 127, /names "\/x"/);
    });
  });

  describe('E2: exec format error', () => {
    test('no #! line', async () => {
      const result = await run('busybox', put('text', 'echo hello\n'));
      expectError(result, 126, 'exec: "/files/text": exec format error: it has no #! line');
      expect(result.stderr).toContain('hint: its first line must name the interpreter');
    });

    test('another architecture', async () => {
      const other = hostMachine === 62 ? 183 : 62;
      const header = Buffer.alloc(64);
      header.write('\x7fELF\x02\x01\x01', 'latin1');
      header.writeUInt16LE(2, 16);
      header.writeUInt16LE(other, 18);
      expectError(
        await run('busybox', put('other', header)),
        126,
        `exec: "/files/other": exec format error: it is a program for ${machineName(other)}, this host is ${machineName(hostMachine)}`,
      );
    });
  });

  describe('E3: permission denied', () => {
    test('it is a directory', async () => {
      expectError(await run('busybox', '/bin'), 126, 'exec: "/bin": permission denied: it is a directory');
    });

    test('its mode has no x', async () => {
      const result = await run('busybox', put('plain', '#!/bin/sh\n', 0o644));
      expectError(result, 126, 'exec: "/files/plain": permission denied: its mode 0644 has no x');
    });

    test('its mode has no x for this user', async () => {
      const path = put('private', '#!/bin/sh\n', 0o700);
      expectError(
        await run('-u', '65534', '--cap-drop', 'ALL', 'busybox', path),
        126,
        /permission denied: it can't be executed: the mode of \/files\/private is 0700 \(0:0\), the process is 65534:\d+$/,
      );
    });

    test('the mount is noexec', async () => {
      const path = `${files}/noexec`;
      mkdirSync(path);
      const words = ['run', '--rm', '-v', `${path}:/mounted`, 'busybox', '/mounted/true'];
      const script = `mount -t tmpfs -o noexec none ${path}; cp -L /bin/true ${path}/true; exec`;
      expectError(
        await inPrivateMounts(script, ...words),
        126,
        'exec: "/mounted/true": permission denied: it lies on a mount with noexec: /mounted (tmpfs)',
      );
    });

    test('it is not there at all', async () => {
      expectError(await run('busybox', 'nosuch'), 127, 'exec: "nosuch": executable file not found in $PATH');
      expectError(await run('busybox', '/nosuch'), 127, 'exec: "/nosuch": no such file or directory');
    });
  });

  describe('E4: a directory onto a file', () => {
    const bind = (source: string, target: string) => engine.run('run', '--rm', '-v', `${source}:${target}`, 'busybox');

    test('both types are told, both ways round', async () => {
      const file = `${scratch(engine)}/file`;
      writeFileSync(file, '');
      expectError(
        await bind(files, '/etc/passwd'),
        125,
        `can't bind ${files} on /etc/passwd: the source is a directory, in the container there is a file`,
      );
      expectError(
        await bind(file, '/bin'),
        125,
        `can't bind ${file} on /bin: the source is a file, in the container there is a directory`,
      );
    });

    test('a source is never created', async () => {
      const source = `${files}/nosuch/folder`;
      expectError(await bind(source, '/data'), 125, `can't bind ${source} on /data: it does not exist`);
      expect(existsSync(`${files}/nosuch`)).toBe(false);
    });
  });

  describe('E5: a failure in the middle', () => {
    test('is one chain: what, the call, where, the field', async () => {
      const result = await engine.run('run', '--rm', '--sysctl', 'kernel.shmmax=abc', 'busybox', 'true');
      expect(result.stderr.split('\n')).toEqual([
        'tinyctr: sysctl kernel.shmmax: the kernel refuses "abc"',
        expect.stringMatching(/^ {2}call: write\(\d+, "abc", 3\) = -1 EINVAL \(invalid argument\)$/),
        expect.stringMatching(/^ {2}where: in the container that was being built, step .*sysctl/),
        '  spec field: /linux/sysctl',
        '',
      ]);
      expectError(result, 125, /sysctl/);
    });

    test('is one JSON object with --log-format json', async () => {
      const words = ['--log-format', 'json', 'run', '--rm', '--sysctl', 'kernel.shmmax=abc', 'busybox', 'true'];
      const { code, stderr } = await engine.run(...words);
      expect(JSON.parse(stderr)).toMatchObject({
        level: 'error',
        msg: 'sysctl kernel.shmmax: the kernel refuses "abc"',
        syscall: 'write',
        code: 'EINVAL',
        errno: 22,
        side: 'stage',
        specPointer: '/linux/sysctl',
        exitCode: 125,
      });
      expect(code).toBe(125);
    });

    test('leaves no container behind', () => {
      expect([engine.containers(), engine.states()]).toEqual([[], []]);
    });

    const profile = (defaultAction: string, names: string[]) => {
      const file = `${files}/profile.json`;
      const syscalls = names.length === 0 ? [] : [{ names, action: 'SCMP_ACT_ALLOW' }];
      writeFileSync(file, JSON.stringify({ defaultAction, syscalls }));
      return engine.run('run', '--rm', '--security-opt', `seccomp=${file}`, 'busybox', 'true');
    };

    test('by a seccomp profile that kills', async () => {
      const result = await profile('SCMP_ACT_KILL_PROCESS', []);
      expectError(result, 125, 'the seccomp profile kills the process before its command runs');
      expect(result.stderr).toContain('because: the stage ended during ');
    });

    test('by a profile under which the stage can neither answer nor exit', async () => {
      const result = await profile('SCMP_ACT_ERRNO', []);
      expectError(result, 125, 'step capabilities.final failed: capset: operation not permitted');
      expect(result.signal).toBeNull();
    });

    test('secrets of the environment are in no message', async () => {
      const { stderr } = await run('-e', 'PASSWORD=gooseberry', 'busybox', put('text', 'echo hello\n'));
      expect(stderr).toContain('execve(');
      expect(stderr).not.toContain('gooseberry');
    });
  });

  describe('E6: a namespace of another type', () => {
    const planWith = (namespace: Namespace) =>
      planContainer(
        {
          id: 'e6',
          spec: {
            process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 } },
            linux: { namespaces: [{ type: 'mount' }, namespace] },
          },
          root: { target: files, source: { kind: 'directory', path: files } },
          cgroupPath: `/tinyctr/e6-${process.pid}`,
        },
        { permittedCapabilities: 0n },
      );
    const stdio = [0, 1, 2] as unknown as [HostFd, HostFd, HostFd];
    const start = (namespace: Namespace) => launch(planWith(namespace), { stdio });

    test.each([
      ['/proc/self/ns/uts', '/proc/self/ns/uts is a uts namespace, the configuration says network'],
      ['/etc/passwd', '/etc/passwd is not a namespace, the configuration says network'],
      ['/proc/self/ns/nosuch', "the network namespace /proc/self/ns/nosuch can't be opened (ENOENT)"],
    ])('%s as the network namespace', async (path, message) => {
      const error = { name: 'ContainerError', message, specPointer: '/linux/namespaces/1/path' };
      await expect(start({ type: 'network', path })).rejects.toMatchObject(error);
      expect(existsSync(`${cgroupRoot()}/tinyctr/e6-${process.pid}`)).toBe(false);
    });

    test('one of the right type is opened', () => {
      const [fd] = openNamespaces(planWith({ type: 'network', path: '/proc/self/ns/net' }).namespaces.join, []);
      expect(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')).toContain('mnt_id:');
    });
  });

  describe('E10: pivot_root, invalid argument', () => {
    /** What is said when `prepare` has made the working directory and pivot_root(".", ".") is called there. */
    function pivot(prepare: (stage: Stage, folder: string) => void): ContainerError {
      const folder = mkdtempSync(`${engine.folder}/pivot-`);
      const spawned = spawnStage({
        namespaces: k.CLONE_NEWNS,
        stdio: [0, 1, 2] as unknown as [HostFd, HostFd, HostFd],
      });
      const plan = planContainer(
        {
          id: 'e10',
          spec: {
            process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 } },
            linux: { namespaces: [{ type: 'mount' }] },
          },
          root: { target: folder, source: { kind: 'directory', path: folder } },
          cgroupPath: '/e10',
        },
        { permittedCapabilities: 0n },
      );
      try {
        spawned.wire.handshake();
        const stage = new Stage(spawned.wire);
        stage.mount('', '/', null, k.MS_PRIVATE | k.MS_REC, null);
        prepare(stage, folder);
        stage.pivot_root('.', '.');
        stage.flush();
      } catch (error) {
        return explainFailure(error, plan, spawned.hostPid) as ContainerError;
      } finally {
        destroy(spawned.pidfd);
        spawned.wire.close();
      }
      throw new Error('pivot_root succeeded');
    }
    const tmpfs = (stage: Stage, path: string) => stage.mount('none', path, 'tmpfs', 0, null);
    const makeFolder = (stage: Stage, path: string) => stage.mkdirat(k.AT_FDCWD as never, path, 0o755);

    test('the new root is a folder of another mount', () => {
      const error = pivot((stage, folder) => {
        tmpfs(stage, folder);
        makeFolder(stage, `${folder}/sub`);
        stage.chdir(`${folder}/sub`);
      });
      expect(error).toMatchObject({
        message: "the root can't be changed: the new root is not a mount point",
        hint: 'bind the folder onto itself first',
        cause: { facts: { syscall: 'pivot_root' }, code: 'EINVAL' },
      });
    });

    test('the new root is shared', () => {
      let shared = '';
      const error = pivot((stage, folder) => {
        shared = folder;
        tmpfs(stage, folder);
        stage.mount('', folder, null, k.MS_SHARED, null);
        stage.chdir(folder);
      });
      expect(error.message).toBe(`the root can't be changed: the mount ${shared} is shared`);
      expect(error.hint).toBe(`mount --make-private ${shared}`);
    });

    test('the parent of the new root is shared', () => {
      let shared = '';
      const error = pivot((stage, folder) => {
        shared = folder;
        tmpfs(stage, folder);
        makeFolder(stage, `${folder}/sub`);
        tmpfs(stage, `${folder}/sub`);
        stage.mount('', folder, null, k.MS_SHARED, null);
        stage.chdir(`${folder}/sub`);
      });
      expect(error.message).toBe(`the root can't be changed: the mount ${shared} is shared`);
    });

    test('the new root lies on the same mount', () => {
      const error = pivot((stage) => stage.chdir('/'));
      expect(error).toMatchObject({ message: expect.stringMatching(/on the same mount/), cause: { code: 'EBUSY' } });
    });
  });

  describe('E11: mount proc, operation not permitted', () => {
    const masks = 'mount --make-rprivate /; mount --bind /dev/null /proc/version;';

    test('the over-mounts that the kernel objects to are found', async () => {
      const inner = 'mount -t proc proc /proc 2>/dev/null && echo mounted || echo refused; exec sleep 20';
      const words = ['-m', 'sh', '-e', '-c', `${masks} exec unshare -Urpfm sh -c ${quoted(inner)}`];
      const child = spawn('unshare', words, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
      try {
        const text = await new Promise<string>((resolve) =>
          child.stdout.once('data', (data) => resolve(String(data))).once('end', () => resolve('it ended')),
        );
        expect(text).toBe('refused\n');
        const pids = execFileSync('ps', ['-o', 'pid=', '-s', String(child.pid)])
          .toString()
          .trim()
          .split(/\s+/);
        const fault = procFault(readMountinfo(Number(pids.at(-1))));
        expect(fault?.[0]).toMatch(/^it would show what mounts outside hide: .*\/proc\/version/);
      } finally {
        process.kill(-child.pid!, 'SIGKILL');
      }
    });

    test('and are listed', async () => {
      const result = await inPrivateMounts(`${masks} exec unshare -U -r`, 'run', '--privileged', 'busybox', 'true');
      expectError(
        result,
        125,
        /^tinyctr: a procfs can't be mounted: it would show what mounts outside hide: .*\/proc\/version/,
      );
      expect(result.stderr).toMatch(/call: fsmount\(.*EPERM/);
      expect(result.stderr).toContain('hint: give the outer container --security-opt systempaths=unconfined');
    });
  });

  describe('E15: limits', () => {
    const ulimit = (value: string) => engine.run('run', '--rm', '--ulimit', value, 'busybox', 'true');

    test('a soft limit above the hard one is found before anything starts', async () => {
      expectError(await ulimit('nofile=10:5'), 125, /the soft limit 10 of nofile is above its hard limit 5$/);
    });

    test('an unknown name', async () => {
      expectError(await ulimit('nofiles=10'), 125, /'nofiles' is none of core, cpu,/);
    });

    test('a limit that the kernel refuses has its name', async () => {
      const most = Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'));
      const result = await ulimit(`nofile=${most + 1}`);
      expectError(
        result,
        125,
        `RLIMIT_NOFILE can't be set to ${most + 1}: the most that this kernel gives is ${most} (fs.nr_open)`,
      );
      expect(result.stderr).toMatch(/call: prlimit64\(.*EPERM/);
    });
  });

  test.each([
    ['tinyctr', () => [...engine.command, 'explain', '--format', 'json', 'run', 'busybox', 'true']],
    ['tinyctr-oci', () => [`${checkout}/bin/tinyctr-oci`, 'features']],
  ] as const)('%s ends without a word when nobody reads what it prints', async (_, command) => {
    const script = 'exec 3>&2; "$@" 2>&3 | true; echo $PIPESTATUS'; // the first one's
    const { stdout, stderr } = await runProgram('bash', ['-c', script, 'bash', ...command()]);
    expect({ stdout, stderr }).toEqual({ stdout: '141\n', stderr: '' });
  });

  test('E15: without CAP_SYS_RESOURCE the present hard limit is told', async () => {
    const drop = 'ulimit -n 1000; exec setpriv --bounding-set -sys_resource';
    const result = await inPrivateMounts(drop, 'run', '--rm', '--ulimit', 'nofile=2000', 'busybox', 'true');
    const text =
      "RLIMIT_NOFILE can't be set to 2000: the hard limit here is 1000, and raising it takes CAP_SYS_RESOURCE";
    expectError(result, 125, text);
  });

  describe('E17: a memory limit', () => {
    test('that is too small is refused with the minimum', async () => {
      const result = await engine.run('run', '--rm', '--memory', '4k', 'busybox', 'true');
      expectError(result, 125, "--memory '4k' is 4096 bytes: at least 6m is needed to start anything");
    });

    const here = readFileSync(`${cgroupRoot()}/cgroup.controllers`, 'utf8').split(/\s/).includes('memory');
    const without: { skip: boolean; meta: object } = {
      skip: here,
      meta: here ? { skipReason: 'the memory controller is here' } : {},
    };
    test('that nobody can keep names the controller, and where it is', without, async () => {
      const result = await engine.run('run', '--rm', '--memory', '64m', 'busybox', 'true');
      expectError(result, 125, /can't be kept: the memory controller is not in cgroup v2/);
      expect(result.stderr).toMatch(/hint: \S/);
    });
  });

  describe('what is missing is one sentence', () => {
    test('root', async () => {
      const words = ['--reuid', '65534', '--regid', '65534', '--clear-groups', ...engine.command, 'run', 'busybox'];
      const result = await runProgram('setpriv', words, { cwd: '/' });
      expectError(result, 125, 'tinyctr needs root to make namespaces, mounts and cgroups');
      expect(result.stderr).toMatch(/\n {2}hint: sudo \S+ …\n$/);
    });

    test('libseccomp', async () => {
      const library = execFileSync('sh', ['-c', 'ldconfig -p || /sbin/ldconfig -p']).toString();
      const path = realpathSync(/libseccomp\.so\.2 .*=> (\S+)/.exec(library)![1]!);
      const script = `mount --make-rprivate /; mount --bind /dev/null ${path}; rm -rf ${engine.root}/seccomp; exec`;
      const result = await inPrivateMounts(script, 'run', '--rm', 'busybox', 'true');
      expectError(result, 125, /^tinyctr: libseccomp\.so\.2 cannot be loaded,.* install Debian's package libseccomp2$/);
    });

    test('the build', async () => {
      const copy = scratch(engine);
      mkdirSync(`${copy}/bin`);
      copyFileSync(`${checkout}/bin/tinyctr`, `${copy}/bin/tinyctr`);
      const { code, stderr } = await runProgram(`${copy}/bin/tinyctr`, ['ps']);
      expect(stderr).toMatch(/^tinyctr: not built.*: run "npm install" in .*\n$/);
      expect(code).toBe(125);
    });
  });
});
