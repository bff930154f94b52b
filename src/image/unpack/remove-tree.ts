/**
 * Removes a tree without following anything in it and without a path that could grow too long; host side. A directory
 * that isn't empty is moved up beside its parent and emptied in its turn, so depth costs nothing.
 */
import { closeSync } from 'node:fs';
import { randomHex } from '../../core/host/random.ts';
import { failed, rawSyscall } from '../../core/host/syscall.ts';
import { AT_REMOVEDIR, O_DIRECTORY, O_RDONLY } from '../../core/kernel/constants.ts';
import { E } from '../../core/kernel/errno.ts';
import { openat, renameat, unlinkat } from './at.ts';

const listing = Buffer.alloc(64 * 1024);
const DT_DIR = 4;

export interface DirectoryEntry {
  /** A byte string. */
  name: string;
  isDirectory: boolean;
}

/**
 * getdents64(2) until the end, without . and .. struct linux_dirent64: u64 d_ino, s64 d_off, u16 d_reclen, u8 d_type,
 * char d_name[].
 */
export function readDirectory(fd: number): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  for (;;) {
    const length = rawSyscall('getdents64', fd, listing, listing.length);
    if (length < 0) throw failed('getdents64', [fd, listing, listing.length], -length);
    if (length === 0) return entries;
    for (let at = 0; at < length; at += listing.readUInt16LE(at + 16)) {
      const end = listing.indexOf(0, at + 19);
      const name = listing.toString('latin1', at + 19, end);
      if (name !== '.' && name !== '..') entries.push({ name, isDirectory: listing[at + 18] === DT_DIR });
    }
  }
}

/** Removes `name` in the directory `dirfd`, with all that is below it. Nothing there is no error. */
export function removeTree(dirfd: number, name: string): void {
  const result = unlinkat(dirfd, name, 0, 'EISDIR', 'ENOENT');
  if (result !== -E.EISDIR) return;
  const rootFd = openat(dirfd, name, O_RDONLY | O_DIRECTORY);
  try {
    empty(rootFd);
  } finally {
    closeSync(rootFd);
  }
  unlinkat(dirfd, name, AT_REMOVEDIR);
}

function empty(rootFd: number): void {
  const waiting: string[] = [];
  const prefix = randomHex(16); // no archive can have guessed a name with it
  let counter = 0;
  const removeAll = (fd: number) => {
    for (const { name, isDirectory } of readDirectory(fd)) {
      if (!isDirectory) unlinkat(fd, name, 0);
      else if (unlinkat(fd, name, AT_REMOVEDIR, 'ENOTEMPTY') < 0) {
        const moved = `${prefix}-${counter++}`;
        renameat(fd, name, rootFd, moved);
        waiting.push(moved);
      }
    }
  };
  removeAll(rootFd);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const fd = openat(rootFd, name, O_RDONLY | O_DIRECTORY);
    try {
      removeAll(fd);
    } finally {
      closeSync(fd);
    }
    unlinkat(rootFd, name, AT_REMOVEDIR);
  }
}
