/**
 * A folder's contents into another one, which is empty: owners, modes, times, extended attributes, links and devices as well. By
 * descriptors, so that no link leads out of either. Host side.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { failed, rawSyscall, syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { errnoName } from '../core/kernel/errno.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import { mappedXattr } from './mapped-xattr.ts';
import { isHostPolicy } from './unpack/untrusted.ts';

interface Owners {
  /** Owners are those of a user namespace with these maps; an id without a map stays what it is, and is nobody's inside. */
  idMaps?: IdMaps | undefined;
}

interface CopyOptions extends Owners {
  /** Whether the folder itself gets the mode of the source. */
  withMode?: boolean;
}

/** The copy of both folders' entries, and of the source's own owner, mode, times and attributes. Throws what the first failed call says. */
export function copyTree(source: number, target: number, { withMode = true, idMaps }: CopyOptions = {}): void {
  const copy: Copy = { tree: target, names: new Map(), idMaps };
  copyFolder(source, target, Buffer.alloc(0), copy);
  takeAfterFolder(source, target, copy, withMode);
}

/** What is the folder's own, and nothing in it. */
export function takeAfterFolder(source: number, target: number, copy: Owners, withMode = true): void {
  takeAfter(`/proc/self/fd/${target}`, fstatSync(source), copy, withMode);
  copyAttributes(Buffer.from(`/proc/self/fd/${source}/.`), Buffer.from(`/proc/self/fd/${target}/.`), copy);
}

/** A path of one component below an open folder: no link on the way can be put there meanwhile. */
const below = (folder: number, name: Buffer): Buffer => Buffer.concat([Buffer.from(`/proc/self/fd/${folder}/`), name]);

function opened<T>(path: Buffer | string, flags: number, use: (fd: number) => T): T {
  const fd = openSync(path, flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

interface Copy extends Owners {
  tree: number;
  /** Files of several names: where the first of them is, below the new tree, which nobody else can change. */
  names: Map<string, Buffer>;
}

/** Owners, modes, times, extended attributes and hard links as well. `place` is the folder's path in the new tree, with a slash at the end. */
function copyFolder(from: number, to: number, place: Buffer, copy: Copy): void {
  for (const name of readdirSync(`/proc/self/fd/${from}`, { encoding: 'buffer' }))
    opened(below(from, name), k.O_PATH | constants.O_NOFOLLOW, (fd) => {
      const status = fstatSync(fd);
      const target = below(to, name);
      const path = Buffer.concat([place, name]);
      const first = status.isDirectory() || status.nlink === 1 ? undefined : otherName(fd, path, copy);
      if (first) linkSync(below(copy.tree, first), target);
      else if (status.isSymbolicLink()) copyLink(below(from, name), target, status, copy);
      else copyEntry(fd, target, status, path, copy);
      if (!first) copyAttributes(below(from, name), target, copy);
    });
}

/** The first name of the file, if it has been met already. */
function otherName(fd: number, path: Buffer, { names }: Copy): Buffer | undefined {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const first = names.get(`${dev}:${ino}`);
  if (!first) names.set(`${dev}:${ino}`, path);
  return first;
}

function copyLink(source: Buffer, target: Buffer, status: Stats, copy: Copy): void {
  symlinkSync(readlinkSync(source, { encoding: 'buffer' }), target);
  lchownSync(target, ...ownerOf(status, copy));
  lutimesSync(target, status.atime, status.mtime);
}

function ownerOf({ uid, gid }: Stats, { idMaps }: Owners): [uid: number, gid: number] {
  return idMaps ? [hostId(idMaps.uid, uid) ?? uid, hostId(idMaps.gid, gid) ?? gid] : [uid, gid];
}

/** `source` is an O_PATH descriptor; opened again through /proc it is the same file, whatever has become of its name. */
function copyEntry(source: number, target: Buffer, status: Stats, path: Buffer, copy: Copy): void {
  const again = `/proc/self/fd/${source}`;
  if (status.isDirectory()) {
    mkdirSync(target, 0o700);
    const place = Buffer.concat([path, Buffer.from('/')]);
    opened(again, constants.O_RDONLY, (from) =>
      opened(target, constants.O_RDONLY, (to) => copyFolder(from, to, place, copy)),
    );
  } else syscall('mknodat', [k.AT_FDCWD, Buffer.concat([target, Buffer.of(0)]), status.mode, status.rdev]);
  if (status.isFile())
    opened(again, constants.O_RDONLY, (from) => opened(target, constants.O_WRONLY, (to) => copyBytes(from, to)));
  takeAfter(target, status, copy);
}

function copyBytes(from: number, to: number): void {
  const buffer = Buffer.alloc(1 << 16);
  for (let length = readSync(from, buffer); length > 0; length = readSync(from, buffer))
    writeFileSync(to, buffer.subarray(0, length));
}

const leftOut = ['EOPNOTSUPP', 'EPERM', 'EACCES', 'ENODATA'];
const LARGEST_VALUE = 65536; // XATTR_SIZE_MAX, and XATTR_LIST_MAX

/**
 * Of a link itself, not of what it leads to; after chown(2), which takes capabilities away. What a tmpfs does not know
 * (user.* before Linux 6.6) or this user may not set is left out. Source: xattr(7).
 */
function copyAttributes(source: Buffer, target: Buffer, { idMaps }: Owners): void {
  const [from, to] = [source, target].map((path) => Buffer.concat([path, Buffer.of(0)])) as [Buffer, Buffer];
  if (rawSyscall('llistxattr', from, null, 0) <= 0) return; // also where the file system has none
  const [list, value] = [Buffer.alloc(LARGEST_VALUE), Buffer.alloc(LARGEST_VALUE)];
  const length = rawSyscall('llistxattr', from, list, list.length);
  for (const name of list.toString('latin1', 0, Math.max(length, 0)).split('\0')) {
    if (name === '' || isHostPolicy(name)) continue;
    const key = Buffer.from(`${name}\0`, 'latin1');
    const size = rawSyscall('lgetxattr', from, key, value, value.length);
    const kept = mappedXattr(name, value.subarray(0, Math.max(size, 0)), idMaps);
    const result = size < 0 ? size : rawSyscall('lsetxattr', to, key, kept, kept.length, 0);
    if (result < 0 && !leftOut.includes(errnoName(-result))) throw failed('lsetxattr', [to, name], -result);
  }
}

/** chown(2) takes set-user-ID away, so the mode comes after it. */
function takeAfter(path: Buffer | string, status: Stats, copy: Owners, withMode = true): void {
  chownSync(path, ...ownerOf(status, copy));
  if (withMode) chmodSync(path, status.mode & 0o7777);
  utimesSync(path, status.atime, status.mtime);
}
