/** config.json field by field, seen from inside the container: the same cases for tinyctr-oci and, where it is installed, runc. */
import { spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Spec } from '../../src/spec/types.ts';
import { needs } from '../support/need.ts';
import { until } from '../support/tinyctr.ts';
import { Runtime, runtimes } from './oci-support.ts';

interface Case {
  script: string;
  change: (spec: Spec, bundle: string) => void;
  stdout?: string | RegExp;
  code?: number;
}

const withoutPrivileges = { bounding: [], effective: [], permitted: [] };

const cases: Record<string, Case> = {
  'process.env and cwd': {
    script: 'echo "$A|$(pwd)"',
    change: ({ process }) => Object.assign(process!, { cwd: '/etc', env: [...process!.env!, 'A=b c'] }),
    stdout: 'b c|/etc\n',
  },
  'process.user': {
    script: 'id -u; id -g; id -G; umask; grep CapEff /proc/self/status',
    change: ({ process }) => {
      process!.user = { uid: 1000, gid: 1001, additionalGids: [5, 6], umask: 0o077 };
      process!.capabilities = withoutPrivileges;
    },
    stdout: '1000\n1001\n1001 5 6\n0077\nCapEff:\t0000000000000000\n',
  },
  'process.capabilities': {
    script: 'grep ^Cap /proc/self/status',
    change: ({ process }) => {
      process!.capabilities = { bounding: ['CAP_KILL', 'CAP_CHOWN'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] };
    },
    stdout: /CapInh:\t0+\nCapPrm:\t0+20\nCapEff:\t0+20\nCapBnd:\t0+21\nCapAmb:\t0+\n/,
  },
  'process.capabilities of a user': {
    script: 'grep -E "CapEff|CapAmb" /proc/self/status',
    change: ({ process }) => {
      const one = ['CAP_NET_BIND_SERVICE'];
      process!.user = { uid: 1000, gid: 1000 };
      process!.capabilities = { bounding: one, effective: one, permitted: one, inheritable: one, ambient: one };
    },
    stdout: 'CapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n',
  },
  'process.rlimits': {
    script: 'ulimit -n; ulimit -Hn; ulimit -c; grep "core file" /proc/self/limits',
    change: ({ process }) => {
      process!.rlimits = [
        { type: 'RLIMIT_NOFILE', soft: 100, hard: 200 },
        { type: 'RLIMIT_CORE', soft: 0, hard: 1024 },
      ];
    },
    stdout: /^100\n200\n0\nMax core file size +0 +1024 +bytes/,
  },
  'process.noNewPrivileges and oomScoreAdj': {
    script: 'grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj',
    change: ({ process }) => Object.assign(process!, { noNewPrivileges: false, oomScoreAdj: 500 }),
    stdout: 'NoNewPrivs:\t0\n500\n',
  },
  'root.readonly': {
    script: 'touch /x 2>&1; touch /dev/shm/y && echo shm',
    change: () => undefined,
    stdout: /Read-only file system\nshm\n/,
  },
  'root.readonly false': {
    script: 'touch /x && echo made',
    change: ({ root }) => Object.assign(root!, { readonly: false }),
    stdout: 'made\n',
  },
  'mounts: a tmpfs has the mode of the folder it hides': {
    script: 'cd /secret; stat -c "%a %F" .; stat -c %a /new; ls',
    change: ({ mounts, root }, bundle) => {
      root!.readonly = false;
      mkdirSync(`${bundle}/rootfs/secret/inside`, { recursive: true });
      chmodSync(`${bundle}/rootfs/secret`, 0o700);
      for (const destination of ['/secret', '/new']) mounts!.push({ destination, type: 'tmpfs', source: 'tmpfs' });
    },
    stdout: '700 directory\n1777\n',
  },
  'hostname and domainname': {
    script: 'hostname; cat /proc/sys/kernel/domainname',
    change: (spec) => Object.assign(spec, { hostname: 'here', domainname: 'there.example' }),
    stdout: /^here\n/,
  },
  'linux.maskedPaths and readonlyPaths': {
    script: 'ls /masked | wc -l; cat /file | wc -c; touch /ro/x 2>&1; echo end',
    change: ({ root, linux }, bundle) => {
      for (const name of ['masked', 'ro']) {
        mkdirSync(`${bundle}/rootfs/${name}`);
        writeFileSync(`${bundle}/rootfs/${name}/in`, 'x');
      }
      writeFileSync(`${bundle}/rootfs/file`, 'secret');
      root!.readonly = false;
      linux!.maskedPaths!.push('/masked', '/file', '/not/there');
      linux!.readonlyPaths!.push('/ro', '/not/there/either');
    },
    stdout: /^0\n0\n.*Read-only file system\nend\n$/,
  },
  'mounts: tmpfs, binds of folders and files, a source relative to the bundle': {
    script: 'stat -c %a /t; cat /b/in /f; touch /b/x 2>&1; cat /rel/in; grep -c " /t .*noexec" /proc/self/mountinfo',
    change: ({ mounts }, bundle) => {
      mkdirSync(`${bundle}/shared`);
      writeFileSync(`${bundle}/shared/in`, 'text\n');
      const source = `${bundle}/shared`;
      mounts!.push(
        { destination: '/t', type: 'tmpfs', source: 'tmpfs', options: ['noexec', 'mode=0711', 'size=64k'] },
        { destination: '/b', type: 'bind', source, options: ['rbind', 'ro'] },
        { destination: '/f', source: `${source}/in`, options: ['bind', 'ro'] },
        { destination: '/rel', type: 'none', source: 'shared', options: ['bind'] },
      );
    },
    stdout: /^711\ntext\ntext\n.*Read-only file system\ntext\n1\n$/,
  },
  'mounts: remount of a bind and of a tmpfs': {
    script:
      'touch /b/x 2>&1; touch /t/y 2>&1; grep -cE " /(b|t) .*ro,.*nosuid|nosuid.*ro," /proc/self/mountinfo; touch /dev/shm/ok && echo ok',
    change: ({ mounts }, bundle) => {
      mkdirSync(`${bundle}/shared`);
      const source = `${bundle}/shared`;
      mounts!.push(
        { destination: '/b', type: 'bind', source, options: ['bind', 'nosuid'] },
        { destination: '/t', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'size=64k'] },
        { destination: '/b', type: 'bind', source, options: ['bind', 'remount', 'ro', 'nosuid'] },
        { destination: '/t', type: 'tmpfs', source: 'tmpfs', options: ['remount', 'ro', 'nosuid'] },
      );
    },
    stdout: /^touch: \/b\/x: Read-only file system\ntouch: \/t\/y: Read-only file system\n\d+\nok\n$/,
  },
  'linux.devices': {
    script: "ls -l /dev/fuse /dev/null | awk '{print $1, $3, $4, $5, $6}'",
    change: ({ linux }) => {
      linux!.resources!.devices!.push({ allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' });
      linux!.devices = [
        { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o20640, uid: 1000, gid: 5 },
        { path: '/dev/null', type: 'c', major: 1, minor: 3, fileMode: 0o666 },
      ];
    },
    stdout: /^crw-r----- 1000 +(5|tty) 10, 229\ncrw-rw-rw- (0|root) +(0|root) 1, 3\n$/,
  },
  'linux.sysctl': {
    script: 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax',
    change: ({ linux }) => {
      linux!.sysctl = { 'net.ipv4.ip_forward': '1', 'kernel.shmmax': '4096' };
    },
    stdout: '1\n4096\n',
  },
  'linux.seccomp': {
    script: 'mkdir /dev/shm/d 2>&1; chmod 700 /dev/shm 2>&1; echo on',
    change: ({ linux }) => {
      linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'].slice(process.arch === 'x64' ? 0 : 1).slice(0, 1),
        syscalls: [
          { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 },
          { names: ['chmod', 'fchmodat'], action: 'SCMP_ACT_ERRNO' },
        ],
      };
    },
    stdout: /No space left on device\n.*Operation not permitted\non\n/,
  },
  'linux.seccomp without noNewPrivileges': {
    script: 'mkdir /dev/shm/d 2>&1; echo on',
    change: ({ process, linux }) => {
      process!.noNewPrivileges = false;
      process!.user = { uid: 1000, gid: 1000 };
      linux!.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
      };
    },
    stdout: /Operation not permitted\non\n/,
  },
  'the exit status is passed on': { script: 'exit 42', change: () => undefined, code: 42 },
  'a signal is 128 and its number': {
    script: 'kill -9 $$; sleep 1',
    change: ({ linux }) => hostPids(linux!),
    code: 137,
  },
  'root "." and a missing options list': {
    script: 'echo fine',
    change: ({ root, mounts }, bundle) => {
      root!.path = `${bundle}/rootfs/.`;
      mounts!.push({ destination: '/t', type: 'tmpfs' });
    },
    stdout: 'fine\n',
  },
};

/** Process 1 of a pid namespace can't kill itself. */
function hostPids(linux: NonNullable<Spec['linux']>): void {
  linux.namespaces = linux.namespaces!.filter(({ type }) => type !== 'pid');
}

describe.each(runtimes)('%s', needs({ root: true }), (name) => {
  let oci: Runtime;

  beforeAll(async () => {
    oci = await Runtime.prepare(name);
  });

  afterAll(() => oci.end());

  test.each(Object.entries(cases))('%s', async (_title, { script, change, stdout = '', code = 0 }) => {
    const bundle = oci.bundle(script);
    const spec = JSON.parse(readFileSync(`${bundle}/config.json`, 'utf8')) as Spec;
    change(spec, bundle);
    writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
    const result = await oci.run(bundle, 'case');
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code, stderr: '' });
    if (typeof stdout === 'string') expect(result.stdout).toBe(stdout);
    else expect(result.stdout).toMatch(stdout);
  });

  test.each([
    [['nonsense'], /executable file not found in \$PATH/],
    [['/not/there'], /no such file or directory/],
    [['/etc'], /permission denied|is a directory/],
  ])('the command %j is an error of create, told in the log as clients read it', async (args, message) => {
    const bundle = oci.bundle('', ({ process }) => Object.assign(process!, { args }));
    const log = `${bundle}/log`;
    const { code } = await oci.call('--log', log, '--log-format=json', 'create', `--bundle=${bundle}`, 'none');
    expect(code).toBe(1);
    const last = JSON.parse(readFileSync(log, 'utf8').trim().split('\n').at(-1)!);
    expect(last).toEqual({ level: 'error', msg: expect.stringMatching(message), time: expect.any(String) });
    expect(last.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-])/);
    expect(await oci.status('none')).toContain('container does not exist');
  });

  test('--preserve-fds hands on so many descriptors, and not one more', async () => {
    const bundle = oci.bundle('cat <&3; cat <&4; [ -e /proc/self/fd/5 ] || echo no more');
    const files = ['three', 'four', 'five'].map((text) => {
      writeFileSync(`${bundle}/${text}`, `${text}\n`);
      return openSync(`${bundle}/${text}`, 'r');
    });
    const words = [...oci.command.slice(1), 'run', '--bundle', bundle, '--preserve-fds', '2', 'preserve'];
    const out = openSync(`${bundle}/out`, 'w');
    const child = spawn(oci.command[0]!, words, { stdio: ['ignore', out, out, ...files] });
    await new Promise((resolve) => child.once('exit', resolve));
    for (const fd of [out, ...files]) closeSync(fd);
    expect(readFileSync(`${bundle}/out`, 'utf8')).toBe('three\nfour\nno more\n');
  });

  test('a namespace is joined by its path', async () => {
    const other = spawn('unshare', ['-n', 'sleep', '60'], { stdio: 'ignore' });
    const path = `/proc/${other.pid}/ns/net`;
    await until('a network namespace', () => !['', readlinkSync('/proc/self/ns/net')].includes(linkIfThere(path)));
    const bundle = oci.bundle('readlink /proc/self/ns/net', ({ linux }) => {
      linux!.namespaces = linux!.namespaces!.map((one) => (one.type === 'network' ? { ...one, path } : one));
    });
    const wanted = linkIfThere(path);
    const { stdout, stderr } = await oci.run(bundle, 'joined');
    other.kill('SIGKILL');
    expect({ stdout, stderr }).toEqual({ stdout: `${wanted}\n`, stderr: '' });
  });

  test('a namespace of another type at that path is refused', async () => {
    const bundle = oci.bundle('true', ({ linux }) => {
      linux!.namespaces = linux!.namespaces!.map((one) =>
        one.type === 'network' ? { type: 'network', path: '/proc/self/ns/ipc' } : one,
      );
    });
    expect((await oci.run(bundle, 'wrong')).code).toBe(1);
  });
});

function linkIfThere(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
