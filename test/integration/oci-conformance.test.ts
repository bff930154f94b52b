/** What the tests of runc and crun ask of a runtime, and no other file here does: options, defaults, words that clients look for. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Linux, Process, Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { readIfThere, runProgram } from '../support/tinyctr.ts';
import { differs, ours, Runtime, runtime } from './oci-support.ts';

const sleep = 'while :; do sleep 0.05; done';

/** Takes a descriptor from a unix socket and sends SIGKILL by it. */
const pidfdClient = `
import signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("ready", flush=True)
text, fds, _, _ = socket.recv_fds(server.accept()[0], 100, 1)
print(text.decode(), flush=True)
sys.stdin.read(1)
signal.pidfd_send_signal(fds[0], signal.SIGKILL)
`;

/** Half a minute: a busy machine is no fault. */
async function eventually(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + 30_000; !(await condition()); ) {
    if (Date.now() > end) throw new Error(`${what}: not within half a minute`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** More than a process that waits to be reaped. */
function lives(pid: number): boolean {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat !== '' && !/\) [ZX]/.test(stat);
}

describe(`${runtime}`, needs({ root: true, command: 'python3' }), () => {
  let oci: Runtime;
  const own = (reason: string) => ours(runtime, reason);

  beforeAll(async () => {
    oci = await Runtime.prepare(runtime);
  });
  afterEach(() => oci.deleteAll());
  afterAll(() => oci.end());

  const withLinux = (more: Partial<Linux>) => (spec: Spec) => void Object.assign(spec.linux!, more);
  const withProcess = (more: Partial<Process>) => (spec: Spec) => void Object.assign(spec.process!, more);
  const output = async (script: string, change?: (spec: Spec) => void) => {
    const { code, stdout, stderr } = await oci.run(oci.bundle(script, change), 'one');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout;
  };
  const refusal = async (change: (spec: Spec) => void) => {
    const { code, stdout, stderr } = await oci.run(oci.bundle('echo ran', change), 'one');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    return stderr;
  };
  const withoutPid = ({ linux }: Spec) => {
    linux!.namespaces = linux!.namespaces!.filter(({ type }) => type !== 'pid');
  };

  describe('the command line', () => {
    test('--config names another file; config.json is the bundle’s', own('crun has it'), async () => {
      const bundle = oci.bundle('echo other');
      mkdirSync(`${bundle}/below`);
      spawnSync('mv', [`${bundle}/config.json`, `${bundle}/below/x.json`]);
      const call = (cwd: string, ...words: string[]) =>
        runProgram(oci.command[0]!, [...oci.command.slice(1), ...words], { cwd });
      expect(await call(bundle, 'run', '--config', 'below/x.json', 'one')).toMatchObject({
        code: 0,
        stdout: 'other\n',
      });
      expect(await call(`${bundle}/below`, 'run', '-b', '..', '-f', 'x.json', 'one')).toMatchObject({ code: 0 });
      expect((await call('/', 'run', '-b', bundle, '--config', 'config.json', 'one')).stderr).toContain(
        `${bundle}/config.json: no such file`,
      );
      const explain = await call(bundle, 'explain', '--config', 'below/x.json');
      expect(explain).toMatchObject({ code: 0, stdout: expect.stringContaining('pivot_root') });
    });

    test('--log file:PATH is that file', own('crun has it'), async () => {
      const bundle = oci.bundle('true');
      const { code } = await oci.call(`--log=file:${bundle}/log`, '--debug', 'run', '--bundle', bundle, 'one');
      expect(code).toBe(0);
      expect(readFileSync(`${bundle}/log`, 'utf8')).toContain('level=debug');
    });

    test('spec --rootless: the caller is root of a user namespace, and needs no group', async () => {
      const folder = mkdtempSync(`${oci.folder}/spec-`);
      const { code } = await runProgram(oci.program[0]!, [...oci.program.slice(1), 'spec', '--rootless'], {
        cwd: folder,
      });
      expect(code).toBe(0);
      const { linux, mounts } = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as Spec;
      expect(linux!.uidMappings).toEqual([{ containerID: 0, hostID: 0, size: 1 }]);
      expect(linux!.namespaces!.map(({ type }) => type)).toEqual(expect.arrayContaining(['user', 'mount', 'pid']));
      expect(linux!.namespaces!.map(({ type }) => type)).not.toContain('network');
      expect(mounts!.flatMap(({ options = [] }) => options).filter((option) => /^[gu]id=/.test(option))).toEqual([]);
      const bundle = oci.bundle('id -u', (spec) => {
        Object.assign(spec, { mounts, linux: { ...linux, resources: spec.linux!.resources } });
      });
      expect(await oci.run(bundle, 'one')).toMatchObject({ code: 0, stdout: '0\n' });
    });

    test('ps is the host’s ps -ef of the container', async () => {
      await oci.create(oci.bundle(sleep), 'one');
      const { stdout } = await oci.call('ps', 'one');
      expect(stdout).toMatch(/^UID +PID +PPID +C +STIME +TTY +TIME +CMD\nroot +\d+ .*\n$/);
      expect((await oci.call('ps', 'one', '-e', '-x')).stdout).toMatch(/^ +PID +TTY +STAT +TIME +COMMAND\n/);
      await oci.call('delete', '--force', 'one');
    });

    test.each(['create', 'run', 'exec'])(
      '%s --pidfd-socket: whoever listens there gets a pidfd of the process',
      differs(runtime, 'newer-than-runc-1.1'),
      async (verb) => {
        const path = `${mkdtempSync(`${oci.folder}/pidfd-`)}/socket`;
        const client: ChildProcess = spawn('python3', ['-c', pidfdClient, path], {
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        onTestFinished(() => void client.kill('SIGKILL'));
        let said = '';
        client.stdout!.on('data', (text) => {
          said += text;
        });
        await eventually('the client listens', () => said === 'ready\n');
        const options = ['--pidfd-socket', path];
        const start = (id: string, ...more: string[]) =>
          startQuiet('run', '--bundle', oci.bundle(sleep), '-d', ...more, id);
        if (verb === 'create') expect((await oci.create(oci.bundle(sleep), 'one', ...options)).code).toBe(0);
        else if (verb === 'run') expect(await start('one', ...options)).toBe(0);
        else {
          expect(await start('one')).toBe(0);
          expect(await startQuiet('exec', '-d', ...options, '--pid-file', `${path}-pid`, 'one', 'sleep', '1000')).toBe(
            0,
          );
        }
        await eventually('the pidfd has come', () => said === 'ready\npidfd\n');
        client.stdin!.write('x');
        if (verb === 'exec') {
          await eventually('the process of exec is gone', () => !lives(Number(readIfThere(`${path}-pid`))));
          expect(await oci.status('one')).toBe('running');
        } else await eventually('it has stopped', async () => (await oci.status('one')) === 'stopped');
      },
    );
  });

  /** With nothing of ours as its input and output. */
  const startQuiet = (...words: string[]): Promise<number | null> =>
    new Promise((resolve) => {
      spawn(oci.command[0]!, [...oci.command.slice(1), ...words], { stdio: 'ignore' }).once('exit', resolve);
    });

  describe('the end', () => {
    test('delete of a container that was only created kills it', async () => {
      await oci.create(oci.bundle(sleep), 'one');
      expect(await oci.call('delete', 'one')).toMatchObject({ code: 0, stderr: '' });
      expect(await oci.status('one')).toContain('does not exist');
    });

    const endsAll = async (verb: 'kill' | 'delete') => {
      await startQuiet('run', '--bundle', oci.bundle(sleep, withoutPid), '-d', 'one');
      expect(await startQuiet('exec', '-d', 'one', 'sleep', '1000')).toBe(0);
      const { pid } = JSON.parse((await oci.call('state', 'one')).stdout) as { pid: number };
      expect(pid).toBeGreaterThan(1);
      process.kill(pid, 'SIGKILL');
      await eventually('it has stopped', async () => (await oci.status('one')) === 'stopped');
      const left = JSON.parse((await oci.call('ps', '-f', 'json', 'one')).stdout) as number[];
      expect(left.length).toBeGreaterThan(0);
      expect(await oci.call(...(verb === 'kill' ? ['kill', 'one', 'KILL'] : ['delete', 'one']))).toMatchObject({
        code: 0,
      });
      await eventually('the others are gone', () => !left.some(lives));
    };
    test('in the host’s pid namespace delete ends those as well that outlived the first process', () =>
      endsAll('delete'));
    test('so does kill', differs(runtime, 'newer-than-runc-1.1'), () => endsAll('kill'));

    test('kill 0 asks whether there is a process', async () => {
      await oci.create(oci.bundle(sleep), 'one');
      expect(await oci.call('kill', 'one', '0')).toMatchObject({ code: 0 });
      await oci.call('kill', 'one', 'KILL');
      await oci.untilStatus('one', 'stopped');
      expect((await oci.call('kill', 'one', '0')).stderr).toContain('container not running');
      expect(await oci.call('kill', '--all', 'one', '0')).toMatchObject({ code: 0 });
    });
  });

  describe('the process', () => {
    test.each([
      [['HOME=/own'], '/own'],
      [['HOME='], '/root'],
      [['HOME=/own', 'HOME='], '/root'],
    ])('HOME of %j is %s', async (env, home) => {
      expect(await output('echo $HOME', (spec) => void spec.process!.env!.push(...env))).toBe(`${home}\n`);
    });

    test('the last of a variable that is there twice counts, and there is one', async () => {
      const env = ['ONE=two', 'PATH=/bin:/usr/bin', 'ONE=three'];
      expect(await output('env | grep -c ONE=; echo $ONE', withProcess({ env }))).toBe('1\nthree\n');
    });

    test('an id that is left out is 0', async () => {
      expect(await output('id -u; id -g', withProcess({ user: { uid: 7 } as never }))).toBe('7\n0\n');
    });

    test('exec: process.json without user, an unknown --cap, and ambient what was inheritable', async () => {
      const caps = ['CAP_CHOWN', 'CAP_KILL'];
      const capabilities = { bounding: caps, permitted: caps, effective: caps, inheritable: ['CAP_KILL'], ambient: [] };
      const bundle = oci.bundle(sleep, withProcess({ capabilities, user: { uid: 7, gid: 7 } }));
      await oci.create(bundle, 'one');
      await oci.call('start', 'one');
      writeFileSync(
        `${bundle}/p.json`,
        JSON.stringify({ args: ['sh', '-c', 'echo $0', 'fine'], cwd: '/', env: ['PATH=/bin'] }),
      );
      expect(await oci.call('exec', '--process', `${bundle}/p.json`, 'one')).toMatchObject({
        code: 0,
        stdout: 'fine\n',
      });
      const { code, stdout, stderr } = await oci.call(
        'exec',
        '--cap',
        'CAP_KILL',
        '--cap',
        'CAP_NONE',
        'one',
        'cat',
        '/proc/self/status',
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('CAP_NONE') });
      expect(stdout).toMatch(/CapAmb:\t0{14}20/);
    });

    test.skipIf(availableParallelism() < 2)(
      'gets all processors of its cpuset, whatever its caller was bound to',
      differs(runtime, 'newer-than-runc-1.1'),
      async () => {
        const allowed = 'grep Cpus_allowed_list /proc/self/status';
        const bound = ['-c', '0', ...oci.command, 'run', '--bundle', oci.bundle(allowed), 'one'];
        expect((await runProgram('taskset', bound)).stdout).not.toBe('Cpus_allowed_list:\t0\n');
      },
    );

    /** As numa_maps(5) shows it. */
    const hasPolicy = async (memoryPolicy: object, shown: string) => {
      const policy = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2";
      await oci.create(oci.bundle(sleep, withLinux({ memoryPolicy: memoryPolicy as never })), 'one');
      await oci.call('start', 'one');
      const { pid } = JSON.parse((await oci.call('state', 'one')).stdout) as { pid: number };
      expect(readFileSync(`/proc/${pid}/numa_maps`, 'utf8').split('\n')[0]!.split(' ')[1]).toBe(shown);
      expect((await oci.call('exec', 'one', 'sh', '-c', policy)).stdout).toBe(`${shown}\n`);
    };
    test('memoryPolicy MPOL_DEFAULT', () => hasPolicy({ mode: 'MPOL_DEFAULT' }, 'default'));
    test.each([
      [{ mode: 'MPOL_LOCAL' }, 'local'],
      [{ mode: 'MPOL_INTERLEAVE', nodes: '0' }, 'interleave:0'],
      [{ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] }, 'bind=static:0'],
      [{ mode: 'MPOL_PREFERRED', nodes: '0', flags: ['MPOL_F_RELATIVE_NODES'] }, 'prefer=relative:0'],
    ])('memoryPolicy %j, for exec as well', differs(runtime, 'newer-than-runc-1.1'), hasPolicy);

    test.each<[object, RegExp]>([
      [{ mode: 'INTERLEAVE', nodes: '0' }, /memoryPolicy\/mode is an invalid memory policy mode: "INTERLEAVE"/],
      [{ nodes: '0-7' }, /memoryPolicy\/mode is an invalid memory policy mode/],
      [{ mode: 'MPOL_BIND', nodes: '0-9876543210' }, /memoryPolicy\/nodes is an invalid memory policy node list/],
      [{ mode: 'MPOL_BIND', nodes: '0', flags: ['X'] }, /memoryPolicy\/flags\/0 is an invalid memory policy flag: "X"/],
      [{ mode: 'MPOL_BIND' }, /invalid memory policy nodes: MPOL_BIND needs some/],
      [{ mode: 'MPOL_DEFAULT', nodes: '0' }, /set_mempolicy.*invalid argument/s],
    ])('memoryPolicy %j is refused', differs(runtime, 'refused-not-ignored'), async (memoryPolicy, problem) => {
      expect(await refusal(withLinux({ memoryPolicy: memoryPolicy as never }))).toMatch(problem);
    });

    test.each<[object, string]>([
      [{ deadline: 2e7 }, 'requires `runtime`'],
      [{ runtime: 1e7 }, 'requires `deadline`'],
      [{ runtime: 1023, deadline: 1e7 }, 'runtime (1023) must be between 1024 and'],
      [{ runtime: 3e7, deadline: 2e7 }, 'runtime (30000000) must be <= deadline (20000000)'],
      [{ runtime: 1e7, deadline: 3e7, period: 2e7 }, 'deadline (30000000) must be <= period (20000000)'],
    ])('SCHED_DEADLINE with %j is refused', own('runc 1.1 has no scheduler'), async (times, problem) => {
      const scheduler = { policy: 'SCHED_DEADLINE', ...times };
      expect(await refusal(withProcess({ scheduler }))).toContain(`sched_setattr: \`SCHED_DEADLINE\` ${problem}`);
    });
  });

  describe('mounts', () => {
    test(
      'a new user namespace without maps: its root is the caller’s',
      differs(runtime, 'newer-than-runc-1.1'),
      async () => {
        const map = await output('cat /proc/self/uid_map', ({ linux, mounts }) => {
          linux!.namespaces!.push({ type: 'user' });
          for (const mount of mounts!) mount.options = mount.options?.filter((option) => option !== 'gid=5') ?? [];
        });
        expect(map.trim().split(/\s+/)).toEqual(['0', '0', '1']);
      },
    );

    test.each([
      ['a file', 'file'],
      ['a folder', ''],
    ])('%s on a link that leads nowhere: where it leads to', async (_what, name) => {
      const folder = mkdtempSync(`${oci.folder}/source-`);
      writeFileSync(`${folder}/file`, 'there\n');
      const bundle = oci.bundle(
        "cat /tmp/new/deep/x/file /tmp/new/deep/x; awk '$5 ~ /deep/ { print $5 }' /proc/self/mountinfo",
        (spec) => {
          spec.mounts!.push({
            destination: '/etc/jump/x',
            type: 'bind',
            source: `${folder}/${name}`,
            options: ['bind'],
          });
        },
      );
      symlinkSync('/tmp/new', `${bundle}/rootfs/way`);
      symlinkSync('../way/deep', `${bundle}/rootfs/etc/jump`);
      const { stdout } = await oci.run(bundle, 'one');
      expect(stdout).toBe('there\n/tmp/new/deep/x\n');
    });

    test('a read-only /dev has its devices all the same', async () => {
      const script =
        'awk \'$5 == "/dev" { print substr($6, 1, 2) }\' /proc/self/mountinfo; echo x >/dev/null && test -c /dev/zero && ! touch /dev/x 2>/dev/null && echo fine';
      const readonly = ({ mounts }: Spec) =>
        void mounts!.find(({ destination }) => destination === '/dev')!.options!.push('ro');
      expect(await output(script, readonly)).toBe('ro\nfine\n');
    });

    describe('flags of a bind mount that are not named', () => {
      let source: string;
      beforeAll(() => {
        source = mkdtempSync('/tmp/tinyctr-flags-');
        spawnSync('mount', ['-t', 'tmpfs', '-o', 'strictatime', 'none', source]);
      });
      afterAll(() => {
        spawnSync('umount', ['-l', source]);
        rmSync(source, { recursive: true, force: true });
      });
      const keys = ['ro', 'nosuid', 'nodev', 'noexec', 'nosymfollow', 'noatime', 'nodiratime', 'relatime'];

      const bound = async (before: string, options: string, after: string) => {
        spawnSync('mount', ['--bind', '-o', 'remount,rw,suid,dev,exec,symfollow,diratime,strictatime', source]);
        expect(spawnSync('mount', ['--bind', '-o', `remount,${before}`, source]).status).toBe(0);
        const mount = { destination: '/mnt', type: 'bind', source, options: options.split(',') };
        const found = await output(
          'awk \'$5 == "/mnt" { print $6 }\' /proc/self/mountinfo',
          (spec) => void spec.mounts!.push(mount),
        );
        expect(
          found
            .trim()
            .split(',')
            .filter((flag) => keys.includes(flag))
            .sort(),
        ).toEqual(after.split(',').filter(Boolean).sort());
      };
      const name = '%s bound with %s has %s';
      test.each([
        ['ro,noexec,nosymfollow,nodiratime', 'bind', 'ro,noexec,nosymfollow,nodiratime,relatime'],
        ['ro', 'bind,nosuid,nodev,rprivate', 'nosuid,nodev'],
        ['nodev,nosuid,noexec,noatime', 'bind,ro', 'ro,noatime'],
        ['nodev,nosuid,noatime', 'bind,ro,exec', 'ro,noatime'],
        ['noatime', 'bind,norelatime', 'noatime'],
        ['noatime', 'bind,nodiratime', 'nodiratime,relatime'],
        ['nodiratime', 'bind,strictatime', ''],
      ])(name, bound);
      test.each([['ro,noexec,nosymfollow,nodiratime', 'bind,dev', 'nodiratime,relatime']])(
        name,
        differs(runtime, 'newer-than-runc-1.1'),
        bound,
      );

      test('in a user namespace they stay', differs(runtime, 'newer-than-runc-1.1'), async () => {
        spawnSync('mount', ['--bind', '-o', 'remount,rw,exec,diratime,relatime', source]);
        spawnSync('mount', ['--bind', '-o', 'remount,nosuid,nodev,nosymfollow', source]);
        const mount = { destination: '/mnt', type: 'bind', source, options: ['bind', 'ro'] };
        const maps = [{ containerID: 0, hostID: 0, size: 65536 }];
        const found = await output('awk \'$5 == "/mnt" { print $6 }\' /proc/self/mountinfo', ({ mounts, linux }) => {
          mounts!.push(mount);
          linux!.namespaces!.push({ type: 'user' });
          Object.assign(linux!, { uidMappings: maps, gidMappings: maps });
        });
        expect(
          found
            .trim()
            .split(',')
            .filter((flag) => keys.includes(flag))
            .sort(),
        ).toEqual(['nodev', 'nosuid', 'relatime', 'ro']);
      });
    });

    test('crun’s id maps in an option; a bad one is refused', own('crun has it'), async () => {
      const folder = mkdtempSync(`${oci.folder}/mapped-`);
      writeFileSync(`${folder}/file`, '');
      chmodSync(folder, 0o755);
      const bind = (option: string) => (spec: Spec) =>
        void spec.mounts!.push({ destination: '/mnt', type: 'bind', source: folder, options: ['bind', option] });
      expect(await output('stat -c %u:%g /mnt/file', bind('idmap=uids=0-7-1;gids=0-8-1'))).toBe('7:8\n');
      expect(await refusal(bind('idmap=uids=0-7'))).toContain(
        '/mounts/7/options is refused: mount option "idmap=uids=0-7"',
      );
    });

    test('a path that is masked twice is covered once', differs(runtime, 'newer-than-runc-1.1'), async () => {
      const script = 'grep -c " /tmp " /proc/self/mountinfo';
      expect(await output(script, ({ linux }) => void linux!.maskedPaths!.push('/tmp', '/tmp'))).toBe('1\n');
    });
  });
});
