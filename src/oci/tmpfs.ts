/**
 * A new tmpfs as the image has the folder in its place: its mode, and with tmpcopyup all that is in it. Such a tmpfs is made and
 * filled here, mounted nowhere, and goes to the container as a descriptor: when this process dies on the way, it is gone. Host side.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
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
import { IN_ROOT } from '../core/init/resolve.ts';
import * as k from '../core/kernel/constants.ts';
import { errnoName } from '../core/kernel/errno.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { openHow } from '../core/kernel/structs.ts';
import type { BindPlan, FilesystemPlan, MountPlan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { isHostPolicy } from '../image/unpack/untrusted.ts';
import { asBind, isLong, makeFilesystem, mountLong } from './detached.ts';

/** A tmpfs that takes its contents, or at least its mode, from the folder it hides. */
function takesAfterFolder(mount: FilesystemPlan): boolean {
  return mount.fstype === 'tmpfs' && (has(mount, 'tmpcopyup') || !has(mount, 'mode'));
}

const has = ({ parameters }: FilesystemPlan, name: string) => parameters.some(([key]) => key === name);

/** What is made, or looked at, here before the container's process is born. */
export function isMadeHere(mount: MountPlan): mount is FilesystemPlan {
  return mount.kind === 'filesystem' && (takesAfterFolder(mount) || isLong(mount));
}

/**
 * The mounts to plan in their place, and the descriptors to close once the container has them. Without `make` nothing is made:
 * what would come as a descriptor stays a new filesystem.
 */
export function asInImage(
  mounts: readonly MountPlan[],
  rootfs: string,
  make = true,
): { mounts: MountPlan[]; filled: HostFd[] } {
  const filled: HostFd[] = [];
  try {
    const planned = mounts.map((mount, i) => {
      if (!isMadeHere(mount)) return mount;
      if (isLong(mount)) return make ? mountLong(mount, filled) : mount;
      const parameters = mount.parameters.filter(([key]) => key !== 'tmpcopyup');
      const source = openSource(mount.target, mounts.slice(0, i), rootfs);
      if (source === undefined) return { ...mount, parameters };
      try {
        if (!has(mount, 'mode')) parameters.push(['mode', (fstatSync(source).mode & 0o7777).toString(8)]);
        return make && has(mount, 'tmpcopyup')
          ? fill({ ...mount, parameters }, source, filled)
          : { ...mount, parameters };
      } finally {
        closeSync(source);
      }
    });
    return { mounts: planned, filled };
  } catch (error) {
    for (const fd of filled) closeSync(fd);
    throw error;
  }
}

/** The folder that the tmpfs will hide: of the image, or of what is bound above it. Undefined if there is none. */
function openSource(target: string, earlier: readonly MountPlan[], rootfs: string): HostFd | undefined {
  const above = earlier
    .filter((mount) => mount.kind !== 'remount')
    .findLast((mount) => target === mount.target || target.startsWith(`${mount.target}/`));
  if (above?.kind === 'filesystem') return undefined; // new, and so empty
  const from = above?.source ?? rootfs;
  if (!existsSync(from)) return undefined; // who binds it will say so
  const root = openSync(from, k.O_PATH);
  try {
    const how = openHow(constants.O_RDONLY | k.O_DIRECTORY | k.O_CLOEXEC, 0, IN_ROOT);
    const path = target.slice(above?.target.length ?? 0) || '/';
    const fd = syscall('openat2', [root, path, how, how.length], ['ENOENT', 'ENOTDIR', 'ELOOP']);
    return fd < 0 ? undefined : (fd as HostFd);
  } finally {
    closeSync(root);
  }
}

function fill(mount: FilesystemPlan, source: HostFd, filled: HostFd[]): BindPlan {
  const tree = makeFilesystem(mount);
  filled.push(tree);
  try {
    copyFolder(source, tree, Buffer.alloc(0), { tree, names: new Map() });
    takeAfter(`/proc/self/fd/${tree}`, fstatSync(source), false);
    copyAttributes(Buffer.from(`/proc/self/fd/${source}/.`), Buffer.from(`/proc/self/fd/${tree}/.`));
  } catch (error) {
    const { code = String(error) } = error as { code?: string };
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new ContainerError(
      `can't copy what is in ${mount.target}: ${full ? 'it is more than the tmpfs may hold' : code}`,
      { specPointer: mount.specPointer, cause: error },
    );
  }
  return asBind(mount, tree);
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

/** Files of several names: where the first of them is, below the new tree, which nobody else can change. */
interface Links {
  tree: number;
  names: Map<string, Buffer>;
}

/** Owners, modes, times, extended attributes and hard links as well. `place` is the folder's path in the new tree, with a slash at the end. */
function copyFolder(from: number, to: number, place: Buffer, links: Links): void {
  for (const name of readdirSync(`/proc/self/fd/${from}`, { encoding: 'buffer' }))
    opened(below(from, name), k.O_PATH | constants.O_NOFOLLOW, (fd) => {
      const status = fstatSync(fd);
      const target = below(to, name);
      const path = Buffer.concat([place, name]);
      const first = status.isDirectory() || status.nlink === 1 ? undefined : otherName(fd, path, links);
      if (first) linkSync(below(links.tree, first), target);
      else if (status.isSymbolicLink()) copyLink(below(from, name), target, status);
      else copyEntry(fd, target, status, path, links);
      if (!first) copyAttributes(below(from, name), target);
    });
}

/** The first name of the file, if it has been met already. */
function otherName(fd: number, path: Buffer, { names }: Links): Buffer | undefined {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const first = names.get(`${dev}:${ino}`);
  if (!first) names.set(`${dev}:${ino}`, path);
  return first;
}

function copyLink(source: Buffer, target: Buffer, { uid, gid, atime, mtime }: Stats): void {
  symlinkSync(readlinkSync(source, { encoding: 'buffer' }), target);
  lchownSync(target, uid, gid);
  lutimesSync(target, atime, mtime);
}

/** `source` is an O_PATH descriptor; opened again through /proc it is the same file, whatever has become of its name. */
function copyEntry(source: number, target: Buffer, status: Stats, path: Buffer, links: Links): void {
  const again = `/proc/self/fd/${source}`;
  if (status.isDirectory()) {
    mkdirSync(target, 0o700);
    const place = Buffer.concat([path, Buffer.from('/')]);
    opened(again, constants.O_RDONLY, (from) =>
      opened(target, constants.O_RDONLY, (to) => copyFolder(from, to, place, links)),
    );
  } else syscall('mknodat', [k.AT_FDCWD, Buffer.concat([target, Buffer.of(0)]), status.mode, status.rdev]);
  if (status.isFile())
    opened(again, constants.O_RDONLY, (from) => opened(target, constants.O_WRONLY, (to) => copyBytes(from, to)));
  takeAfter(target, status);
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
function copyAttributes(source: Buffer, target: Buffer): void {
  const [from, to] = [source, target].map((path) => Buffer.concat([path, Buffer.of(0)])) as [Buffer, Buffer];
  const memory = Buffer.alloc(LARGEST_VALUE);
  const length = rawSyscall('llistxattr', from, memory, memory.length); // none where the file system has none
  for (const name of memory.toString('latin1', 0, Math.max(length, 0)).split('\0')) {
    if (name === '' || isHostPolicy(name)) continue;
    const key = Buffer.from(`${name}\0`, 'latin1');
    const size = rawSyscall('lgetxattr', from, key, memory, memory.length);
    const result = size < 0 ? size : rawSyscall('lsetxattr', to, key, memory, size, 0);
    if (result < 0 && !leftOut.includes(errnoName(-result))) throw failed('lsetxattr', [to, name], -result);
  }
}

/** chown(2) takes set-user-ID away, so the mode comes after it. */
function takeAfter(path: Buffer | string, { uid, gid, mode, atime, mtime }: Stats, withMode = true): void {
  chownSync(path, uid, gid);
  if (withMode) chmodSync(path, mode & 0o7777);
  utimesSync(path, atime, mtime);
}
