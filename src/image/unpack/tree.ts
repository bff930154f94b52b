/**
 * The directories of a tree that is being unpacked, each opened once and then used by descriptor; host side. A path is
 * resolved by the kernel inside the root (openat2), so a link in the archive may lead anywhere in the tree and never out.
 *
 * Creating a file changes its directory's modification time: a directory's time is put back when it is closed here.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import * as K from '../../core/kernel/constants.ts';
import { E } from '../../core/kernel/errno.ts';
import { ContainerError } from '../../core/kernel/error.ts';
import { shown } from '../tar/entry.ts';
import { factsAt, fsetxattr, futimens, mkdirat, openat, openat2, RESOLVE, unlinkat } from './at.ts';

const OPEN_DIRECTORY = K.O_RDONLY | K.O_DIRECTORY;
const MOST_OPEN = 128;
const IMPLICIT_MODE = 0o755;

export interface Directory {
  readonly fd: number;
  /** To be put back when the directory is closed; only when something in it changed, or its entry set the time. */
  mtimeNs: bigint;
  changed: boolean;
}

export class Tree {
  readonly #rootFd: number;
  /** By path, the longest unused first. Two paths may lead to one directory through a link: they share its record. */
  readonly #byPath = new Map<string, Directory>();
  readonly #byInode = new Map<bigint, Directory>();
  #lastPath: string | undefined;
  #last: Directory | undefined;

  /** `path` is a directory of the store that only root can reach. The tree owns its descriptor: close(). */
  constructor(path: string) {
    this.#rootFd = openSync(path, OPEN_DIRECTORY | K.O_NOFOLLOW);
  }

  /** Puts the times back and closes every directory but the root: after something on a cached path was replaced. */
  forget(): void {
    const open = [...this.#byInode.values()];
    this.#byPath.clear();
    this.#byInode.clear();
    this.#lastPath = undefined;
    for (const directory of open) this.#close(directory);
  }

  close(): void {
    this.forget();
    closeSync(this.#rootFd);
  }

  /** The directory at a clean path ('' is the root), with those above it made when `create` is set. Throws ContainerError. */
  directory(path: string, create: boolean): Directory {
    if (path === this.#lastPath) return this.#last!;
    const directory = this.#byPath.get(path) ?? this.#remember(path, this.#open(path, create));
    this.#byPath.delete(path);
    this.#byPath.set(path, directory);
    this.#lastPath = path;
    this.#last = directory;
    return directory;
  }

  /** A directory that the caller has just opened at `path`; the tree owns the descriptor from here on. */
  adopt(path: string, fd: number): Directory {
    return this.#remember(path, fd);
  }

  #open(path: string, create: boolean): number {
    const fd = openat2(this.#rootFd, path === '' ? '.' : path, OPEN_DIRECTORY, RESOLVE, 'ENOENT', 'ENOTDIR', 'ELOOP');
    if (fd >= 0) return fd;
    if (!create || fd === -E.ELOOP) throw noDirectory(path, fd);
    const slash = path.lastIndexOf('/');
    const parent = this.directory(path.slice(0, Math.max(slash, 0)), true);
    const name = path.slice(slash + 1);
    parent.changed = true;
    if (mkdirat(parent.fd, name, IMPLICIT_MODE) >= 0) return openat(parent.fd, name, OPEN_DIRECTORY);
    if (!isWhiteout(parent.fd, name)) throw noDirectory(path, fd);
    unlinkat(parent.fd, name, 0);
    return makeOpaqueDirectory(parent.fd, name);
  }

  #remember(path: string, fd: number): Directory {
    const stat = fstatSync(fd, { bigint: true });
    const known = this.#byInode.get(stat.ino);
    if (known) closeSync(fd);
    const directory = known ?? { fd, mtimeNs: stat.mtimeNs, changed: false };
    this.#byInode.set(stat.ino, directory);
    this.#byPath.set(path, directory);
    if (this.#byInode.size > MOST_OPEN) this.#closeOldest(directory);
    return directory;
  }

  #closeOldest(keep: Directory): void {
    for (const oldest of this.#byPath.values()) {
      if (oldest === keep || oldest === this.#last) continue;
      for (const [path, directory] of this.#byPath) if (directory === oldest) this.#byPath.delete(path);
      for (const [inode, directory] of this.#byInode) if (directory === oldest) this.#byInode.delete(inode);
      this.#close(oldest);
      return;
    }
  }

  #close(directory: Directory): void {
    if (directory.changed) futimens(directory.fd, directory.mtimeNs);
    closeSync(directory.fd);
  }
}

/** Overlayfs's whiteout: a character device 0:0. Source: the kernel's Documentation/filesystems/overlayfs.rst. */
export function isWhiteout(dirfd: number, name: string): boolean {
  const facts = factsAt(dirfd, name);
  return facts !== undefined && (facts.mode & K.S_IFMT) === K.S_IFCHR && facts.rdev === 0n;
}

/** A directory that hides what lower layers have at its place. Returns its descriptor. */
export function makeOpaqueDirectory(dirfd: number, name: string): number {
  mkdirat(dirfd, name, IMPLICIT_MODE);
  const fd = openat(dirfd, name, OPEN_DIRECTORY);
  setOpaque(fd);
  return fd;
}

export function setOpaque(fd: number): void {
  fsetxattr(fd, 'trusted.overlay.opaque', Buffer.from('y'));
}

function noDirectory(path: string, result: number): ContainerError {
  const why: Record<number, string> = {
    [E.ENOENT]: 'there is none, or a link on the way leads nowhere',
    [E.ELOOP]: 'links lead in a circle',
  };
  return new ContainerError(
    `${shown(path)} is needed as a directory, but ${why[-result] ?? 'something else is there'}`,
  );
}
