/**
 * The system calls of unpacking, all relative to a directory's descriptor; host side. Names are byte strings (latin1).
 * A failed call throws a SyscallError that shows the call with its name readable.
 */
import { closeSync, fstatSync } from 'node:fs';
import { failed, type HostArg, rawSyscall } from '../../core/host/syscall.ts';
import * as K from '../../core/kernel/constants.ts';
import { E, type ErrnoName } from '../../core/kernel/errno.ts';
import type { SyscallName } from '../../core/kernel/syscalls.ts';
import { shown } from '../tar/entry.ts';

/** How a path below an extraction root is resolved: no way out, through no /proc link, into no other mount. */
export const RESOLVE = K.RESOLVE_IN_ROOT | K.RESOLVE_NO_MAGICLINKS | K.RESOLVE_NO_XDEV;

function cString(name: string): Buffer {
  return Buffer.from(`${name}\0`, 'latin1');
}

/** One call; `name` stands in the place of args[nameAt] when the call is shown. An errno in `tolerated` comes back as -errno. */
function call(
  syscall: SyscallName,
  args: HostArg[],
  name: string,
  nameAt: number,
  tolerated: readonly ErrnoName[],
): number {
  const result = rawSyscall(syscall, ...args);
  if (result >= 0 || tolerated.some((code) => E[code] === -result)) return result;
  const readable = args.map((arg, i) => (i === nameAt ? JSON.parse(shown(name)) : arg)) as HostArg[];
  throw failed(syscall, readable, -result);
}

const how = Buffer.alloc(24); // struct open_how { __u64 flags, mode, resolve }

/** ".." is to be tried again where something of the machine was mounted or renamed just then: openat2(2), EAGAIN. */
const PATIENCE = 10_000;

/** openat2(2), long openat2(int dirfd, const char *path, struct open_how *how, size_t size). The caller owns the descriptor. */
export function openat2(
  dirfd: number,
  path: string,
  flags: number,
  resolve: number,
  ...tolerated: ErrnoName[]
): number {
  how.writeBigUInt64LE(BigInt(flags | K.O_CLOEXEC), 0);
  how.writeBigUInt64LE(0n, 8);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  const args = [dirfd, cString(path), how, how.length];
  for (let left = PATIENCE; left > 0; left--) {
    const result = call('openat2', args, path, 1, [...tolerated, 'EAGAIN']);
    if (result !== -E.EAGAIN) return result;
  }
  return call('openat2', args, path, 1, tolerated);
}

/** openat(2) of one name, never through a symbolic link. */
export function openat(dirfd: number, name: string, flags: number, mode = 0, ...tolerated: ErrnoName[]): number {
  const args = [dirfd, cString(name), flags | K.O_NOFOLLOW | K.O_CLOEXEC, mode];
  return call('openat', args, name, 1, tolerated);
}

/** mkdirat(2). Returns -EEXIST when something has the name. */
export function mkdirat(dirfd: number, name: string, mode: number): number {
  return call('mkdirat', [dirfd, cString(name), mode], name, 1, ['EEXIST']);
}

/** mknodat(2); `mode` carries the file type. Returns -EEXIST when something has the name. */
export function mknodat(dirfd: number, name: string, mode: number, device: number): number {
  return call('mknodat', [dirfd, cString(name), mode, device], name, 1, ['EEXIST']);
}

/** symlinkat(2). Returns -EEXIST when something has the name. */
export function symlinkat(target: string, dirfd: number, name: string): number {
  return call('symlinkat', [cString(target), dirfd, cString(name)], name, 2, ['EEXIST']);
}

/** linkat(2) without AT_SYMLINK_FOLLOW: a link to a symbolic link is one more name of the link. -EEXIST as above. */
export function linkat(oldDirfd: number, oldName: string, dirfd: number, name: string): number {
  return call('linkat', [oldDirfd, cString(oldName), dirfd, cString(name), 0], name, 3, ['EEXIST']);
}

/** unlinkat(2); `flags` 0 or AT_REMOVEDIR. */
export function unlinkat(dirfd: number, name: string, flags: number, ...tolerated: ErrnoName[]): number {
  return call('unlinkat', [dirfd, cString(name), flags], name, 1, tolerated);
}

/** renameat2(2) with RENAME_NOREPLACE. */
export function renameat(
  oldDirfd: number,
  oldName: string,
  dirfd: number,
  name: string,
  ...tolerated: ErrnoName[]
): number {
  return call('renameat2', [oldDirfd, cString(oldName), dirfd, cString(name), 1], oldName, 1, tolerated);
}

/** fchownat(2) of the name itself, not of what a link points to. */
export function fchownat(dirfd: number, name: string, uid: number, gid: number): void {
  call('fchownat', [dirfd, cString(name), uid, gid, K.AT_SYMLINK_NOFOLLOW], name, 1, []);
}

/** fchmodat(2). It follows a link, so only for a device or FIFO that was made just before. */
export function fchmodat(dirfd: number, name: string, mode: number): void {
  call('fchmodat', [dirfd, cString(name), mode], name, 1, []);
}

const times = Buffer.alloc(32); // struct timespec [2]: access, modification

function putTimes(mtimeNs: bigint): void {
  let seconds = mtimeNs / 1_000_000_000n;
  let nanoseconds = mtimeNs % 1_000_000_000n;
  if (nanoseconds < 0n) {
    seconds -= 1n;
    nanoseconds += 1_000_000_000n;
  }
  for (const at of [0, 16]) {
    times.writeBigInt64LE(BigInt.asIntN(64, seconds), at);
    times.writeBigInt64LE(nanoseconds, at + 8);
  }
}

/** utimensat(2) of an open file: access and modification time alike. */
export function futimens(fd: number, mtimeNs: bigint): void {
  putTimes(mtimeNs);
  const result = rawSyscall('utimensat', fd, 0, times, 0);
  if (result < 0) throw failed('utimensat', [fd, null, times, 0], -result);
}

/** utimensat(2) of the name itself, not of what a link points to. */
export function utimensat(dirfd: number, name: string, mtimeNs: bigint): void {
  putTimes(mtimeNs);
  call('utimensat', [dirfd, cString(name), times, K.AT_SYMLINK_NOFOLLOW], name, 1, []);
}

/** fsetxattr(2). */
export function fsetxattr(fd: number, name: string, value: Buffer): void {
  call('fsetxattr', [fd, cString(name), value, value.length, 0], name, 1, []);
}

/** setxattr(2) of what an O_PATH descriptor stands for: the only way to a link, device or FIFO before Linux 6.13. */
export function setxattrOfPathFd(fd: number, name: string, value: Buffer): void {
  call('setxattr', [`/proc/self/fd/${fd}`, cString(name), value, value.length, 0], name, 1, []);
}

export interface NodeFacts {
  /** File type and permissions, inode(7). */
  mode: number;
  inode: bigint;
  device: bigint;
  rdev: bigint;
}

/** What stands at a name, links not followed; undefined when nothing does. By an O_PATH descriptor and fstat(2). */
export function factsAt(dirfd: number, name: string): NodeFacts | undefined {
  const fd = openat(dirfd, name, K.O_PATH, 0, 'ENOENT');
  if (fd < 0) return undefined;
  try {
    const stat = fstatSync(fd, { bigint: true });
    return { mode: Number(stat.mode), inode: stat.ino, device: stat.dev, rdev: stat.rdev };
  } finally {
    closeSync(fd);
  }
}
