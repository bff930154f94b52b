/**
 * tmpcopyup: a new tmpfs begins with what the image has at its place. Host side, while the container's stage waits with
 * everything mounted: the image's folder is still reachable as the bundle's, the tmpfs through /proc/PID/root. Each step is
 * one name relative to a descriptor, links are never followed and no other mount is entered: what stands in the image
 * can't lead to a file of the host's (SEC-11 and its kin).
 */
import { closeSync, fchmodSync, fchownSync, fstatSync, readFileSync, readlinkSync, readSync, writeSync } from 'node:fs';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { Mount, Spec } from '../core/spec/types.ts';
import * as at from '../image/unpack/at.ts';
import { readDirectory } from '../image/unpack/remove-tree.ts';

const DIRECTORY = k.O_RDONLY | k.O_DIRECTORY;

/** @throws ContainerError with the pointer of the mount whose folder can't be copied, such as for want of space */
export function copyUp(spec: Spec, rootfs: string, hostPid: number): void {
  for (const [index, mount] of (spec.mounts ?? []).entries()) {
    if (!mount.options?.includes('tmpcopyup')) continue;
    try {
      copyMount(mount, rootfs, hostPid);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      throw new ContainerError(`tmpcopyup of ${mount.destination}: ${code ?? message}`, {
        specPointer: `/mounts/${index}`,
        cause: error,
      });
    }
  }
}

function copyMount({ destination, options = [] }: Mount, rootfs: string, hostPid: number): void {
  const roots = [rootfs, `/proc/${hostPid}/root${rootfs}`].map((path) => at.openat2(k.AT_FDCWD, path, DIRECTORY, 0));
  const [image, container] = roots as [number, number];
  const inside = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;
  const fds: number[] = [...roots];
  try {
    const from = at.openat2(image, bytes(destination), DIRECTORY, inside, 'ENOENT', 'ENOTDIR');
    if (from < 0) return; // the image has nothing there
    fds.push(from);
    const to = at.openat2(container, bytes(destination), DIRECTORY, inside);
    fds.push(to);
    checkIsNew(to);
    copyFolder(from, to);
    takeOver(from, to, options);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

/** A later mount may cover this one: what the host has mounted itself is nothing to copy into. */
function checkIsNew(to: number): void {
  const { dev } = fstatSync(to);
  const device = ` ${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)} `;
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(device))
    throw new ContainerError('another mount covers the new tmpfs');
}

/** The folder's own owner and mode, unless the mount says them. */
function takeOver(from: number, to: number, options: readonly string[]): void {
  const { uid, gid, mode } = factsOf(from);
  if (!options.some((option) => /^[ug]id=/.test(option))) fchownSync(to, uid, gid);
  if (!options.some((option) => option.startsWith('mode='))) fchmodSync(to, mode & 0o7777);
}

/** Names of at.ts are byte strings. */
const bytes = (path: string): string => Buffer.from(path).toString('latin1');

interface Facts {
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: bigint;
}

function factsOf(fd: number): Facts & { rdev: number } {
  const { mode, uid, gid, rdev, mtimeNs } = fstatSync(fd, { bigint: true });
  return { mode: Number(mode), uid: Number(uid), gid: Number(gid), rdev: Number(rdev), mtimeNs };
}

function copyFolder(from: number, to: number): void {
  for (const { name } of readDirectory(from)) copyEntry(from, to, name);
}

function copyEntry(from: number, to: number, name: string): void {
  const fd = at.openat(from, name, k.O_PATH);
  try {
    const facts = factsOf(fd);
    const type = facts.mode & k.S_IFMT;
    if (type === k.S_IFDIR) copySubfolder(from, to, name, facts);
    else if (makeEntry(from, to, name, type, facts)) setFacts(to, name, type, facts);
  } finally {
    closeSync(fd);
  }
}

/** False if something has the name: a mount point of a later mount. */
function makeEntry(
  from: number,
  to: number,
  name: string,
  type: number,
  facts: { mode: number; rdev: number },
): boolean {
  if (type === k.S_IFREG) return copyFile(from, to, name);
  if (type !== k.S_IFLNK) return at.mknodat(to, name, facts.mode, facts.rdev) >= 0;
  const path = Buffer.concat([Buffer.from(`/proc/self/fd/${from}/`), Buffer.from(name, 'latin1')]);
  return at.symlinkat(readlinkSync(path, 'latin1'), to, name) >= 0;
}

function setFacts(to: number, name: string, type: number, { mode, uid, gid, mtimeNs }: Facts): void {
  at.fchownat(to, name, uid, gid);
  if (type !== k.S_IFLNK) at.fchmodat(to, name, mode & 0o7777); // after the owner: a new one clears setuid
  at.utimensat(to, name, mtimeNs);
}

/** Neither through a link nor into another mount; then undefined. */
function openFolder(dirfd: number, name: string): number | undefined {
  const resolve = k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS | k.RESOLVE_NO_XDEV;
  try {
    return at.openat2(dirfd, name, DIRECTORY, resolve);
  } catch (error) {
    if (['EXDEV', 'ELOOP', 'ENOTDIR'].includes((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
}

function copySubfolder(from: number, to: number, name: string, facts: Facts): void {
  const made = at.mkdirat(to, name, 0o700) >= 0;
  const source = openFolder(from, name);
  const copy = openFolder(to, name);
  if (source !== undefined && copy !== undefined) copyFolder(source, copy);
  for (const fd of [source, copy]) if (fd !== undefined) closeSync(fd);
  if (made) setFacts(to, name, k.S_IFDIR, facts);
}

function copyFile(from: number, to: number, name: string): boolean {
  const copy = at.openat(to, name, k.O_WRONLY | k.O_CREAT | k.O_EXCL, 0o600, 'EEXIST');
  if (copy < 0) return false;
  const source = at.openat(from, name, k.O_RDONLY | k.O_NONBLOCK);
  const buffer = Buffer.alloc(65536);
  try {
    for (let length = readSync(source, buffer); length > 0; length = readSync(source, buffer))
      for (let done = 0; done < length; ) done += writeSync(copy, buffer, done, length - done);
  } finally {
    closeSync(source);
    closeSync(copy);
  }
  return true;
}
