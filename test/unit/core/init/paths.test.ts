/**
 * Below the container's root no path is given to the kernel (SEC-03, 04, 05, 07, 08, 22): what is mounted, made or opened
 * there is a descriptor, or one component relative to one. Held over whole transcripts of many kinds of containers.
 */
import { describe, expect, test } from 'vitest';
import * as k from '../../../../src/core/kernel/constants.ts';
import { ContainerError } from '../../../../src/core/kernel/error.ts';
import { directory, file, type WorldFile } from '../../../../src/workshop/files.ts';
import { type RecordedCall, textOf } from '../../../../src/workshop/world.ts';
import { link } from '../../../support/small-image.ts';
import { type planOf, record, target, type Wanted } from './support.ts';

const containers: Record<string, Wanted> = {
  default: {},
  'with volumes and tmpfs': { options: { volume: ['/data:/a/b/c', '/data:/home:ro'], tmpfs: ['/run', '/x/y'] } },
  privileged: { options: { privileged: true } },
  'with a terminal': { terminal: true },
  'read-only, as another user, in a folder to be made': {
    options: { readOnly: true, user: 'anna', workdir: '/new/folder' },
  },
  'with all of the host’s namespaces': {
    options: { network: 'host', pid: 'host', ipc: 'host', uts: 'host' },
    files: { 'host:/dev/shm': directory },
  },
  'with devices deep in the tree': {
    change: (plan) => {
      const device = { path: '/dev/net/tun', mode: k.S_IFCHR | 0o666, major: 10, minor: 200, uid: 5, gid: 6 };
      return { ...plan, devices: [...plan.devices, device, { ...device, path: '/node' }] };
    },
  },
};

/** `at`: which call it is. What is wrong about a call that could be led astray by a link in the image, or undefined. */
function fault(call: RecordedCall, pivoted: boolean): string | undefined {
  const [dirfd] = call.args;
  const text = (index: number) => textOf(call, index);
  const oneComponent = (index: number) => !text(index).includes('/') && !['', '.', '..'].includes(text(index));
  const fd = dirfd! >= 0 || dirfd === -2; // -ENOENT: a descriptor that never came about leads nowhere
  switch (call.name) {
    case 'mount':
      return ['/', target].includes(text(1)) ? undefined : 'mount by path';
    case 'openat2': {
      const resolve = call.memory.get(2)!.readUInt32LE(16);
      const confined = resolve & (k.RESOLVE_IN_ROOT | k.RESOLVE_BENEATH);
      const linkless = resolve & (k.RESOLVE_NO_MAGICLINKS | k.RESOLVE_NO_SYMLINKS);
      if (fd) return confined && linkless ? undefined : 'openat2 that may leave the root';
      if (text(1) === '/' && pivoted) return undefined;
      return text(1) === target && resolve & k.RESOLVE_NO_SYMLINKS ? undefined : 'openat2 by path';
    }
    case 'mkdirat':
    case 'mknodat':
      return fd && oneComponent(1) ? undefined : `${call.name} by path`;
    case 'symlinkat':
      return call.args[1]! >= 0 && oneComponent(2) ? undefined : 'symlinkat by path';
    case 'fchownat':
      if (!(call.args[4]! & k.AT_SYMLINK_NOFOLLOW)) return 'fchownat that follows links';
      return fd && (text(1) === '' || oneComponent(1)) ? undefined : 'fchownat by path';
    case 'open_tree':
      if (fd) return text(1) === '' ? undefined : 'open_tree by path';
      return pivoted || text(1).startsWith(target) ? 'open_tree by path' : undefined;
    case 'move_mount':
      return text(1) === '' && text(3) === '' && call.args[4] === 0x44 ? undefined : 'move_mount by path';
    case 'mount_setattr':
      return fd && text(1) === '' ? undefined : 'mount_setattr by path';
    case 'statx':
      return (fd && text(1) === '') || (dirfd === k.AT_FDCWD && pivoted) ? undefined : 'statx by path';
    case 'chdir':
      return pivoted ? (text(0) === '/' ? undefined : 'chdir by path') : undefined;
    case 'umount2':
      return text(0) === '.' ? undefined : 'umount2 by path';
    default:
      return allowed.has(call.name) ? undefined : `${call.name} is no call of this sequence`;
  }
}

/** Calls without any path. One that is not listed here has to be thought about first. */
const allowed = new Set([
  ...[
    'getpid',
    'umask',
    'prctl',
    'unshare',
    'setns',
    'fsopen',
    'fsconfig',
    'fsmount',
    'fstatfs',
    'read',
    'write',
    'close',
  ],
  ...['fchdir', 'pivot_root', 'sethostname', 'setdomainname', 'socket', 'ioctl', 'sendmsg', 'getcwd', 'setsid', 'dup3'],
  ...['prlimit64', 'setresgid', 'setgroups', 'setresuid', 'capset', 'close_range', 'seccomp', 'execve', 'execveat'],
]);

describe('no path below the root', () => {
  test.each(Object.entries(containers))('%s', (_, wanted) => {
    const { calls, error } = record(wanted);
    expect(error).toBeUndefined();
    const pivot = calls.findIndex((call) => call.name === 'pivot_root');
    const faults = calls.flatMap((call, i) => fault(call, i > pivot) ?? []);
    expect(faults).toEqual([]);
    expect(calls.length).toBeGreaterThan(150);
  });

  test('the rule itself notices each kind of path', () => {
    const call = (name: string, args: number[], texts: Record<number, string | Buffer>): RecordedCall => {
      const memory = new Map(
        Object.entries(texts).map(([i, text]) => [Number(i), Buffer.from(text instanceof Buffer ? text : `${text}\0`)]),
      );
      return { name, args, memory, result: 0, frame: 0 };
    };
    const how = (resolve: number) => {
      const bytes = Buffer.alloc(24);
      bytes.writeUInt32LE(resolve, 16);
      return bytes;
    };
    const bad = [
      call('mount', [0, 0, 0, k.MS_BIND], { 0: '/dev/null', 1: `${target}/proc/kcore` }),
      call('openat2', [7], { 1: 'etc/passwd', 2: how(0) }),
      call('openat2', [7], { 1: 'etc/passwd', 2: how(k.RESOLVE_IN_ROOT) }),
      call('openat2', [k.AT_FDCWD], { 1: `${target}/etc`, 2: how(k.RESOLVE_NO_SYMLINKS) }),
      call('mkdirat', [7], { 1: 'a/b' }),
      call('mkdirat', [k.AT_FDCWD], { 1: 'a' }),
      call('mknodat', [7], { 1: '..' }),
      call('symlinkat', [0, 7], { 0: 'x', 2: '/dev/ptmx' }),
      call('fchownat', [7, 0, 0, 0, 0], { 1: 'tty' }),
      call('open_tree', [k.AT_FDCWD], { 1: `${target}/dev/null` }),
      call('move_mount', [7, 0, k.AT_FDCWD, 0, 4], { 1: '', 3: `${target}/proc` }),
      call('statx', [7], { 1: 'etc/passwd' }),
      call('openat', [7], { 1: 'etc' }),
      call('unlinkat', [7], { 1: 'etc' }),
      call('chroot', [], { 0: target }),
    ];
    expect(bad.flatMap((each) => (fault(each, false) ? [] : [each.name]))).toEqual([]);
  });
});

describe('what an image may have prepared is refused', () => {
  const refused = (files: Record<string, WorldFile>, wanted: Wanted = {}) => {
    const { error, calls } = record({ ...wanted, files });
    expect(error).toBeInstanceOf(ContainerError);
    expect(calls.some((call) => call.name.startsWith('execve'))).toBe(false);
    return (error as ContainerError).message;
  };
  const onImage = { change: (plan: ReturnType<typeof planOf>) => ({ ...plan, mounts: [] }) };

  test('/dev/null that is another device or a file (SEC-05)', () => {
    const message = '/dev/null in the container is not the null device (character 1:3): refused';
    expect(refused({ '/dev/null': { mode: k.S_IFCHR | 0o666, rdev: 0x102 } }, onImage)).toBe(message);
    expect(refused({ '/dev/null': file() }, onImage)).toBe(message);
    expect(refused({ '/dev/null': { mode: k.S_IFBLK | 0o666, rdev: 0x103 } }, onImage)).toBe(message);
    expect(refused({ '/dev/null': link }, onImage)).toBe(message);
  });

  test('/etc/passwd that is no file or too large', () => {
    const message = '/etc/passwd in the container is not a regular file of at most 1 MiB: refused';
    expect(refused({ '/etc/passwd': { mode: k.S_IFIFO | 0o644 } })).toContain(message);
    expect(refused({ '/etc/passwd': file('x'.repeat((1 << 20) + 1)) })).toContain(message);
  });

  test('a terminal without devpts of its own (SEC-06)', () => {
    const without = { terminal: true, ...onImage };
    expect(refused({ '/dev/pts': directory, '/dev/pts/ptmx': file() }, without)).toBe(
      'a terminal needs a devpts on /dev/pts in the container',
    );
  });
});
