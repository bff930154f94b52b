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
import { syscall } from '../core/host/syscall.ts';
import { IN_ROOT } from '../core/init/resolve.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { openHow } from '../core/kernel/structs.ts';
import type { BindPlan, FilesystemPlan, MountPlan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
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
  const above = earlier.findLast((mount) => target === mount.target || target.startsWith(`${mount.target}/`));
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
    copyFolder(source, tree);
    takeAfter(`/proc/self/fd/${tree}`, fstatSync(source), false);
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

/** Owners, modes and times as well; extended attributes and hard links are not kept. */
function copyFolder(from: number, to: number): void {
  for (const name of readdirSync(`/proc/self/fd/${from}`, { encoding: 'buffer' }))
    opened(below(from, name), k.O_PATH | constants.O_NOFOLLOW, (fd) => {
      const status = fstatSync(fd);
      const target = below(to, name);
      if (status.isSymbolicLink()) copyLink(below(from, name), target, status);
      else copyEntry(fd, target, status);
    });
}

function copyLink(source: Buffer, target: Buffer, { uid, gid, atime, mtime }: Stats): void {
  symlinkSync(readlinkSync(source, { encoding: 'buffer' }), target);
  lchownSync(target, uid, gid);
  lutimesSync(target, atime, mtime);
}

/** `source` is an O_PATH descriptor; opened again through /proc it is the same file, whatever has become of its name. */
function copyEntry(source: number, target: Buffer, status: Stats): void {
  const again = `/proc/self/fd/${source}`;
  if (status.isDirectory()) {
    mkdirSync(target, 0o700);
    opened(again, constants.O_RDONLY, (from) => opened(target, constants.O_RDONLY, (to) => copyFolder(from, to)));
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

/** chown(2) takes set-user-ID away, so the mode comes after it. */
function takeAfter(path: Buffer | string, { uid, gid, mode, atime, mtime }: Stats, withMode = true): void {
  chownSync(path, uid, gid);
  if (withMode) chmodSync(path, mode & 0o7777);
  utimesSync(path, atime, mtime);
}
