/**
 * What went wrong in other runtimes, tried on this one, as far as a mistake would not hurt the machine: where theirs wrote
 * to the kernel's files, a decoy stands in their place. The rest is in test/vm.
 */

import { spawn } from 'node:child_process';
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LaunchOptions, launch } from '../../src/core/container/launch.ts';
import { removeCgroup } from '../../src/core/host/cgroup.ts';
import { reap } from '../../src/core/host/child.ts';
import { planContainer } from '../../src/core/plan/container.ts';
import type { Mount } from '../../src/core/spec/types.ts';
import type { HostFd } from '../../src/core/stage/stage.ts';
import type { Spec } from '../../src/spec/types.ts';
import { digest, makeDecoy, snapshot } from '../support/decoy.ts';
import { needs } from '../support/need.ts';
import {
  cgroups,
  checkout,
  Engine,
  mountsBelow,
  type Result,
  readIfThere,
  runProgram,
  scratch,
  until,
} from '../support/tinyctr.ts';

let engine: Engine;
let decoy: string;
let before: Record<string, string>;
beforeAll(async () => {
  engine = await new Engine().prepare();
  decoy = makeDecoy(engine.folder);
  before = snapshot(decoy);
});
afterAll(() => engine.remove());

function expectUntouched(): void {
  expect(snapshot(decoy)).toEqual(before);
  expect(mountsBelow(engine.folder)).toEqual([]);
}

/** It was refused before anything of it ran, and said why. */
function expectRefused(result: Result, message: RegExp): void {
  expect(result).toMatchObject({ code: 125, stdout: '', stderr: expect.stringMatching(message) });
  expectUntouched();
}

describe('SEC-01: the runtime’s own programs', needs({ root: true }), () => {
  /** Every file that is executed or loaded to run a container. */
  function programs(): string[] {
    const files = ['bin', 'dist', 'native-shim/build'].flatMap((folder) =>
      readdirSync(`${checkout}/${folder}`, { recursive: true, encoding: 'utf8' }).map(
        (name) => `${checkout}/${folder}/${name}`,
      ),
    );
    return [process.execPath, ...files.filter((file) => lstatSync(file).isFile())];
  }
  const digests = () => Object.fromEntries(programs().map((file) => [file, digest(file)]));
  let original: Record<string, string>;
  beforeAll(() => {
    original = digests();
    for (const name of ['dist/node-path', 'native-shim/build/stage', 'native-shim/build/init'])
      expect(original).toHaveProperty([`${checkout}/${name}`]);
  });

  test('the command is /proc/self/exe, by name, by a link, as a script’s interpreter', async () => {
    const image = await engine.image((rootfs) => {
      symlinkSync('/proc/self/exe', `${rootfs}/link`);
      writeFileSync(`${rootfs}/script`, '#!/proc/self/exe\n', { mode: 0o755 });
    });
    for (const command of ['/proc/self/exe', '/link', '/script', '/proc/1/exe']) {
      const { code, stdout } = await engine.run('run', '--rm', image, command);
      expect({ command, ran: code === 0, stdout }).toEqual({ command, ran: false, stdout: '' });
    }
    expect(digests()).toEqual(original);
  });

  test.each([
    ['its own pid namespace', '/proc/[0-9]*/exe', []],
    ['its own pid namespace with --init', '/proc/[0-9]*/exe', ['--init']],
    ['the host’s pid namespace, where its parent is tinyctr', '/proc/$PPID/exe', ['--pid', 'host']],
  ])('a container’s root can’t open /proc/PID/exe for writing in %s', async (_, files, options) => {
    const script = `for exe in ${files}; do
        case $(readlink $exe) in /bin/busybox) ;; *) (: >> $exe) 2>/dev/null && echo "opened $exe";; esac
      done; echo tried ${files}`;
    const { code, stdout } = await engine.shell(script, ...options);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^tried \/proc\/[1-9][0-9]*\/exe/) });
    expect(digests()).toEqual(original);
  });

  test('--init is a sealed copy: it can be neither written to nor made non-executable', async () => {
    const script = 'readlink /proc/1/exe; (: > /proc/1/exe) && echo written; chmod 0 /proc/1/exe && echo changed; true';
    const { stdout } = await engine.shell(script, '--init');
    expect(stdout).toMatch(/^\/memfd:init \(deleted\)\n$/);
  });
});

describe('SEC-02: no descriptor of the host', needs({ root: true }), () => {
  const numbers = Array.from({ length: 62 }, (_, i) => i + 3);

  test('no /proc/self/fd/N is a working directory, N from 3 to 64', async () => {
    for (let i = 0; i < numbers.length; i += 4) {
      const some = numbers.slice(i, i + 4);
      const results = await Promise.all(some.map((n) => engine.shell('echo it ran', '-w', `/proc/self/fd/${n}`)));
      for (const result of results) expect(result).toMatchObject({ code: 125, stdout: '' });
    }
  });

  test('nor through a link in the image, nor /proc/1/fd, /proc/self/cwd and /proc/self/root', async () => {
    const image = await engine.image((rootfs) => {
      for (const n of [3, 4, 5, 6, 7, 8, 9, 10]) symlinkSync(`/proc/self/fd/${n}`, `${rootfs}/fd${n}`);
    });
    const folders = [3, 4, 5, 6, 7, 8, 9, 10].map((n) => `/fd${n}`);
    for (const folder of [...folders, '/proc/1/fd/7', '/proc/self/cwd', '/proc/self/root']) {
      const result = await engine.run('run', '--rm', '-w', folder, image, 'sh', '-c', 'echo it ran');
      expect({ folder, ...result }).toMatchObject({ code: 125, stdout: '' });
    }
  });

  test('what the caller left open does not get in', async () => {
    const fd = openSync('/', 'r');
    const words = [...engine.command.slice(1), 'run', '--rm', 'busybox', 'sh', '-c', 'ls /proc/1/fd; ls /proc/self/fd'];
    const child = spawn(engine.command[0]!, words, {
      stdio: ['ignore', 'pipe', 'inherit', fd, fd, fd, fd, fd, fd, fd],
    });
    let output = '';
    child.stdout!.on('data', (data) => {
      output += data;
    });
    await new Promise((resolve) => child.once('close', resolve));
    closeSync(fd);
    // 10 is the script that ash keeps open when it has one; 3 is the folder that ls reads.
    expect(output).toBe('0\n1\n2\n0\n1\n2\n3\n');
  });
});

describe('SEC-07: /proc and /sys', needs({ root: true }), () => {
  test.each([
    ['proc', 'tmp'],
    ['proc', '/tmp'],
    ['sys', 'tmp'],
    ['sys', '/tmp'],
  ])('an image whose /%s is a link to %s is refused', async (name, target) => {
    const image = await engine.image((rootfs) => {
      rmSync(`${rootfs}/${name}`, { recursive: true });
      symlinkSync(target, `${rootfs}/${name}`);
    });
    expectRefused(await engine.run('run', '--rm', image, 'echo', 'it ran'), new RegExp(`/${name} .*symbolic link`));
  });

  test.each(['/proc', '/proc/', '//proc/./sys', '/proc/self/attr', '/proc/sys/kernel', '/x/../proc'])(
    'a bind mount on %s is refused',
    async (target) => {
      expectRefused(await engine.shell('echo it ran', '-v', `${decoy}:${target}`), /\/proc/);
    },
  );

  test.each(['self/attr', 'sys/kernel', ''])('so is one on a link of the image to /proc/%s', async (below) => {
    const image = await engine.image((rootfs) => symlinkSync(`/proc/${below}`, `${rootfs}/link`));
    expectRefused(
      await engine.run('run', '--rm', '-v', `${decoy}:/link`, image, 'echo', 'it ran'),
      /\/link in the container is a link into \/proc/,
    );
  });

  test('what lxcfs provides may be covered', async () => {
    const { stdout } = await engine.shell('cat /proc/meminfo', '-v', `${decoy}/file:/proc/meminfo`);
    expect(stdout).toBe('untouched file\n');
    expectUntouched();
  });
});

describe('SEC-08: an image whose /dev is a link', needs({ root: true }), () => {
  test.each([
    ['absolute', () => decoy],
    ['relative', () => `../../../../../../..${decoy}`],
    ['to a folder of its own', () => 'tmp'],
  ])('%s', async (_, target) => {
    const image = await engine.image((rootfs) => {
      rmSync(`${rootfs}/dev`, { recursive: true });
      symlinkSync(target(), `${rootfs}/dev`);
      mkdirSync(`${rootfs}${decoy}`, { recursive: true });
    });
    for (const options of [[], ['-t'], ['-v', `${decoy}/file:/dev/file:ro`]])
      expectRefused(await engine.run('run', '--rm', ...options, image, 'echo', 'it ran'), /\/dev .*symbolic link/);
  });
});

describe('SEC-05 and SEC-06: prepared device files', needs({ root: true }), () => {
  test('a volume on /dev whose null is a link is refused', async () => {
    const dev = scratch(engine);
    symlinkSync(`${decoy}/null`, `${dev}/null`);
    expectRefused(await engine.shell('echo it ran', '-v', `${dev}:/dev`), /\/dev\/null/);
    expect(lstatSync(`${dev}/null`).isSymbolicLink()).toBe(true);
  });

  test('a volume on /dev whose null is a file is refused', async () => {
    const dev = scratch(engine);
    writeFileSync(`${dev}/null`, 'not a device');
    expectRefused(
      await engine.shell('echo it ran', '-v', `${dev}:/dev`),
      /\/dev\/null in the container is not the null device/,
    );
    expect(readFileSync(`${dev}/null`, 'utf8')).toBe('not a device');
  });

  const proc: Mount = { destination: '/proc', type: 'proc', source: 'proc' };
  const pts: Mount = {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['newinstance', 'ptmxmode=0666'],
  };

  /** Builds a container on a root filesystem as it is, without a fresh /dev, as an OCI bundle may ask for it. */
  async function build(rootfs: string, mounts: Mount[], terminal: boolean): Promise<string> {
    const spec: Spec = {
      ociVersion: '1.3.0',
      process: { args: ['true'], cwd: '/', terminal, user: { uid: 0, gid: 0 }, env: ['PATH=/bin'] },
      root: { path: rootfs },
      mounts,
      linux: {
        namespaces: (['mount', 'pid', 'ipc', 'uts', 'network', 'cgroup'] as const).map((type) => ({ type })),
        maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list'],
      },
    };
    const id = `security-${process.pid}-${rootfs.slice(-6)}`;
    const root = { target: rootfs, source: { kind: 'directory' as const, path: rootfs } };
    const plan = planContainer({ id, spec, root, cgroupPath: `/tinyctr/${id}` }, { permittedCapabilities: 0n });
    const fd = openSync('/dev/null', 'r+') as HostFd;
    const stdio: LaunchOptions['stdio'] = [fd, fd, fd];
    try {
      const container = await launch(plan, { stdio });
      if (container.terminal !== undefined) closeSync(container.terminal);
      reap(container.pidfd, 0);
      closeSync(container.pidfd);
      removeCgroup(container.cgroup);
      return 'it ran';
    } catch (error) {
      return (error as Error).message;
    } finally {
      closeSync(fd);
      expect(cgroups()).not.toContain(id);
      expectUntouched();
    }
  }

  test.each([
    ['absolute', () => `${decoy}/null`],
    ['relative', () => `../../../../../../..${decoy}/null`],
    ['to a file in /proc', () => '/proc/self/comm'],
  ])('SEC-05: /dev/null of the root filesystem is a link, %s', async (_, target) => {
    const rootfs = engine.rootfs();
    rmSync(`${rootfs}/dev/null`, { force: true });
    symlinkSync(target(), `${rootfs}/dev/null`);
    expect(await build(rootfs, [proc], false)).toMatch(/\/dev\/null/);
  });

  test('SEC-06: /dev/console and /dev/pts of the root filesystem are links', async () => {
    const console = engine.rootfs();
    rmSync(`${console}/dev/console`, { force: true });
    symlinkSync(`${decoy}/console`, `${console}/dev/console`);
    expect(await build(console, [proc, pts], true)).toMatch(/\/dev\/console .*symbolic link/);

    const links = engine.rootfs();
    rmSync(`${links}/dev/pts`, { recursive: true, force: true });
    symlinkSync(`${decoy}/pts`, `${links}/dev/pts`);
    expect(await build(links, [proc], true)).toMatch(/symbolic link|devpts/);
  });

  test('SEC-06: a ptmx that is none', async () => {
    const rootfs = engine.rootfs();
    mkdirSync(`${rootfs}/dev/pts`, { recursive: true });
    writeFileSync(`${rootfs}/dev/pts/ptmx`, '');
    expect(await build(rootfs, [proc], true)).toMatch(/needs a devpts/);
  });
});

describe('SEC-15: hostile users', needs({ root: true }), () => {
  const hostile = [
    '',
    ' ',
    'root ',
    ' root',
    '\t0',
    '0 ',
    '00',
    '0x0',
    '0b0',
    '0o0',
    '+0',
    '-0',
    '-1',
    '1e3',
    '0.0',
    '0,0',
    '1 0',
    '4294967295',
    '4294967296',
    '18446744073709551616',
    '99999999999999999999',
    '0:0:0',
    ':',
    ':0',
    '0:',
    'root:',
    'root:root:root',
    'root\n',
    'nobody\nroot',
    '٠',
    '０',
    'ROOT',
    '../root',
    '$(id)',
    '%00',
    'NaN',
    'Infinity',
    'root;0',
    '*',
    '~',
    '4294967295:0',
    '0:4294967295',
    '1:-1',
    '1:0x0',
    '1: 0',
  ];

  test.each(hostile)('-u %j is refused', async (user) => {
    expectRefused(await engine.shell('echo it ran', '-u', user), /user|group/);
  });

  test.each([
    ['an empty uid', 'evil:x::0::/:/bin/sh'],
    ['a negative uid', 'evil:x:-1:0::/:/bin/sh'],
    ['a hexadecimal uid', 'evil:x:0x0:0::/:/bin/sh'],
    ['a uid that wraps around to 0', 'evil:x:4294967296:0::/:/bin/sh'],
    ['the uid that means "no change"', 'evil:x:4294967295:0::/:/bin/sh'],
    ['a gid that is no number', 'evil:x:1000:root::/:/bin/sh'],
    ['a line that ends early', 'evil:x:0'],
    ['a name with more behind it', 'evil2:x:0:0::/:/bin/sh'],
  ])('the image’s passwd has %s', async (_, line) => {
    const image = await engine.image((rootfs) => writeFileSync(`${rootfs}/etc/passwd`, `${line}\n`));
    expectRefused(await engine.run('run', '--rm', '-u', 'evil', image, 'sh', '-c', 'echo it ran'), /evil/);
  });

  test.each([
    ['a FIFO', (file: string) => void runProgram('mkfifo', [file])],
    ['a link to the machine’s', (file: string) => symlinkSync('/proc/1/root/etc/passwd', file)],
    ['a device', (file: string) => void runProgram('mknod', [file, 'c', '1', '5'])],
    ['2 MiB long', (file: string) => writeFileSync(file, 'x'.repeat(2 * 1024 * 1024))],
  ])('the image’s passwd is %s', async (_, make) => {
    const image = await engine.image((rootfs) => {
      rmSync(`${rootfs}/etc/passwd`);
      make(`${rootfs}/etc/passwd`);
    });
    const { code, stdout } = await engine.run('run', '--rm', '-u', 'root', image, 'sh', '-c', 'echo it ran');
    expect({ code, stdout }).toEqual({ code: 125, stdout: '' });
  });
});

describe('SEC-09: nothing inheritable', needs({ root: true }), () => {
  test.each([
    [['--cap-add', 'ALL']],
    [['-u', 'nobody']],
    [['--privileged']],
    [['--init']],
    [['--security-opt', 'no-new-privileges']],
    [['--security-opt', 'seccomp=unconfined', '-u', '1000']],
  ])('%j', async (options) => {
    const { stdout } = await engine.shell('grep -E "^Cap(Inh|Amb)" /proc/self/status | cut -f 2 | sort -u', ...options);
    expect(stdout).toBe('0000000000000000\n');
  });
});

describe('SEC-21: tinyctr and its processes are out of a container’s reach', needs({ root: true }), () => {
  test('a container that sees the host’s pids can’t read tinyctr’s memory, environment or files', async () => {
    const child = engine.spawn('run', '--rm', 'busybox', 'sleep', '30');
    await until('the other container runs', () =>
      engine.states().some((id) => /"pid":[1-9]/.test(readIfThere(`${engine.runRoot}/${id}/state.json`))),
    );
    const files = ['mem', 'environ', 'maps', 'cwd', 'root', 'fd/0'].map((name) => `/proc/${child.pid}/${name}`);
    const script = `for f in ${files.join(' ')}; do (head -c 1 $f || readlink $f) >/dev/null 2>&1 && echo "reached $f"; done; [ -d /proc/${child.pid} ] && echo seen`;
    const result = await engine.shell(script, '--pid', 'host');
    child.kill('SIGKILL');
    expect(result).toMatchObject({ code: 0, stdout: 'seen\n' });
    await engine.run('cleanup');
  });

  test('ptrace of another user’s process is refused, as is process_vm_readv’s door /proc/1/mem', async () => {
    const script = 'head -c 1 /proc/1/mem; cat /proc/1/environ > /dev/null && echo read; readlink /proc/1/cwd';
    const result = await engine.shell(`su -s /bin/sh nobody -c '${script}'; true`);
    expect(result.stdout).toBe('');
  });
});

describe('devices', needs({ root: true }), () => {
  // 240 to 254 are for local use: no driver answers, so without device rules the error would be ENXIO.
  test('a block device that the container made by itself can’t be opened', async () => {
    const script =
      'for d in /tmp /dev; do mknod $d/disk b 240 0 && dd if=$d/disk of=/dev/null count=1 2>&1 | head -n 1; done';
    expect(await engine.shell(script)).toMatchObject({
      stdout:
        "dd: can't open '/tmp/disk': Operation not permitted\ndd: can't open '/dev/disk': Operation not permitted\n",
    });
  });

  test('with --privileged it is asked for', async () => {
    const { stdout } = await engine.shell(
      'mknod /tmp/disk b 240 0; dd if=/tmp/disk of=/dev/null count=1 2>&1 | head -n 1',
      '--privileged',
    );
    expect(stdout).toMatch(/No such device/);
  });
});

describe('SEC-10: cgroups', needs({ root: true }), () => {
  const attempts = {
    'mount of cgroup2': 'mkdir -p /tmp/c && mount -t cgroup2 none /tmp/c',
    'mount of a v1 hierarchy': 'mkdir -p /tmp/c && mount -t cgroup -o none,name=tinyctr-test none /tmp/c',
    'a user namespace to mount in': 'unshare -U -r true',
    'remount of /sys/fs/cgroup': 'mount -o remount,rw /sys/fs/cgroup',
    'a new cgroup': 'mkdir /sys/fs/cgroup/x',
    'a write to cgroup.procs': 'echo 1 > /sys/fs/cgroup/cgroup.procs',
  };
  test.each(Object.entries(attempts))('%s is refused', async (_, script) => {
    for (const options of [[], ['--security-opt', 'seccomp=unconfined']]) {
      if (script.startsWith('unshare') && options.length > 0) continue; // without the filter a user namespace is allowed
      const { stdout } = await engine.shell(`echo ran; { ${script}; } 2>/dev/null && echo done`, ...options);
      expect(stdout).toBe('ran\n');
    }
  });
});
