import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as k from '../../../src/core/kernel/constants.ts';
import * as structs from '../../../src/core/kernel/structs.ts';
import { type SyscallName, syscallNumbers } from '../../../src/core/kernel/syscalls.ts';
import { type Arg, encodeFrame } from '../../../src/core/stage/protocol.ts';
import { callsOf } from '../../../src/workshop/frame.ts';
import { withoutEnvironment } from '../../../src/workshop/trace-frame.ts';

const fprog = { struct: structs.sockFprog(1), pointers: [{ at: 8, to: new Uint8Array(8) }] };
/** As the stage makes them; a struct with pointers is read back without what is in it. */
const calls: [SyscallName, Arg[]][] = [
  ['capset', [structs.capHeader, structs.capData(1n, 3n, 2n ** 40n)]],
  ['chdir', ['/a "b" ü']],
  ['chroot', ['.']],
  ['clone3', [structs.cloneArgs(k.CLONE_NEWPID), 64]],
  ['close', [7]],
  ['close_range', [3, 0xffffffff, k.CLOSE_RANGE_CLOEXEC]],
  ['dup3', [3, 0, 0]],
  ['fchdir', [4]],
  ['fchmodat', [4, '', 0o600]],
  ['fchownat', [4, '', 5, 6, 0x1000]],
  ['fcntl', [3, 1030, 64]],
  ['fsconfig', [4, 1, 'mode', '755', 0]],
  ['fsconfig', [4, 6, null, null, 0]],
  ['fsmount', [4, 1, 2]],
  ['fsopen', ['tmpfs', 1]],
  ['fstatfs', [4, { out: 120 }]],
  ['getcwd', [{ out: 4096 }, 4096]],
  ['getpid', []],
  ['ioctl', [4, k.TIOCSPTLCK, new Uint8Array(4)]],
  ['ioctl', [4, k.TIOCGPTPEER, 2]],
  ['ioctl', [4, k.TIOCSWINSZ, structs.winsize(24, 80)]],
  ['ioctl', [4, k.TIOCSCTTY, 0]],
  ['ioctl', [4, k.SIOCSIFFLAGS, structs.ifreq('lo', 1)]],
  ['ioprio_set', [1, 0, 2]],
  ['mkdirat', [4, 'a', 0o755]],
  ['mknodat', [4, 'null', 0o20666, 0x103]],
  ['mount', ['', '/', null, k.MS_REC | k.MS_SLAVE, null]],
  ['mount', ['overlay', '/x', 'overlay', 0, 'lowerdir=/a']],
  ['mount_setattr', [4, '', 0x1000, structs.mountAttr(1, 0, k.MS_PRIVATE, 0), 32]],
  ['move_mount', [4, '', 5, '', 0x44]],
  ['open_tree', [k.AT_FDCWD, '/x', 1]],
  ['openat2', [k.AT_FDCWD, '/x', structs.openHow(k.O_PATH, 0, k.RESOLVE_IN_ROOT), 24]],
  ['personality', [8]],
  ['pivot_root', ['.', '.']],
  ['prctl', [38, 1, 0, 0, 0]],
  ['prlimit64', [0, 7, structs.rlimit64(1, -1), null]],
  ['prlimit64', [0, 7, null, { out: 16 }]],
  ['read', [4, { out: 100 }, 100]],
  ['sched_setaffinity', [0, 3, Uint8Array.of(1, 2, 3)]],
  ['sched_setattr', [0, new Uint8Array(Uint32Array.of(8, 3).buffer), 0]],
  ['seccomp', [1, 0, fprog]],
  ['sendmsg', [3, fprog, 0]],
  ['setdomainname', ['d', 1]],
  ['setgroups', [2, structs.gidList([5, 6])]],
  ['setgroups', [0, null]],
  ['sethostname', ['h', 1]],
  ['setns', [4, k.CLONE_NEWNET]],
  ['setresgid', [1, 1, 1]],
  ['setresuid', [1, 1, 1]],
  ['setsid', []],
  ['socket', [2, 2, 0]],
  ['statx', [4, '', 0x1000, 0x7ff, { out: 256 }]],
  ['symlinkat', ['/a', 4, 'b']],
  ['umask', [0o22]],
  ['umount2', ['.', 2]],
  ['unshare', [k.CLONE_NEWCGROUP]],
  ['write', [4, '-1000', 5]],
  ['execveat', [4, '', { strings: ['a'] }, { strings: [] }, 0x1000]],
  ['execve', ['/bin/a', { strings: ['a', ''] }, { strings: ['A=secret', 'B=secret'] }]],
];

const frameOf = (arch: string, all: readonly (readonly [SyscallName, Arg[]])[]): Buffer => {
  const numberOf = syscallNumbers(arch);
  return encodeFrame(
    all.map(([name, args]) => ({ nr: numberOf(name), args, tolerated: [] })),
    0,
  ).bytes;
};
const shown = (args: readonly Arg[]) =>
  args.map((arg) => (arg !== null && typeof arg === 'object' && 'struct' in arg ? 'a struct' : arg));

test('every call that the stage makes is here', () => {
  const source = readFileSync('src/core/stage/stage.ts', 'utf8');
  const made = [...source.matchAll(/(?:post|open|call|callAll|serveOn|sendLast)\((?:this\.socket, )?'(\w+)'/g)].map(
    ([, name]) => name,
  );
  expect(made.length).toBeGreaterThan(50);
  const names = new Set<string>(calls.map(([name]) => name));
  expect(made.filter((name) => !names.has(name!))).toEqual([]);
});

test.each(['x64', 'arm64'])('a frame is read back as it was written, with the numbers of %s', (arch) => {
  const read = callsOf(
    frameOf(arch, calls),
    calls.map(() => 0),
    arch,
  );
  expect(read.map(({ name, args }) => [name, shown(args)])).toEqual(calls.map(([name, args]) => [name, shown(args)]));
});

test('what a call made for a later one is its result; only what came back is told', () => {
  const frame = frameOf('x64', [
    ['fsopen', ['tmpfs', 1]],
    ['fsmount', [{ resultOf: 0 }, 1, 0]],
    ['close', [{ resultOf: 0 }]],
  ]);
  expect(callsOf(frame, [9, -1], 'x64')).toEqual([
    { name: 'fsopen', args: ['tmpfs', 1] },
    { name: 'fsmount', args: [9, 1, 0] },
  ]);
  expect(callsOf(frame, [null, null], 'x64')[1]!.args).toEqual([-1, 1, 0]);
});

test('without its environment a frame says how many variables there are, and is otherwise the same', () => {
  for (const last of calls.slice(-2)) {
    const all = [...calls.slice(0, -2), last];
    const frame = frameOf('x64', all);
    const blank = withoutEnvironment(frame);
    expect(blank.includes('secret') || blank.includes('A=')).toBe(false);
    const [name, args] = last;
    const results = all.map(() => 0);
    const read = callsOf(blank, results, 'x64');
    expect(read.slice(0, -1)).toEqual(callsOf(frame, results, 'x64').slice(0, -1));
    expect(read.at(-1)).toEqual({
      name,
      args: name === 'execve' ? [args[0], args[1], { strings: ['', ''] }] : args,
    });
  }
});

test('bytes that are no frame are an error', () => {
  expect(() => callsOf(Buffer.alloc(10), [0], 'x64')).toThrow();
  expect(() => callsOf(Buffer.alloc(200, 1), [0], 'x64')).toThrow();
});
