/**
 * A directory of the host as an archive: what `import DIR` reads. Host side. Everything is opened relative to its
 * directory's descriptor and never through a link; other file systems mounted below are left out, as are sockets.
 */
import { type BigIntStats, closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { failed, rawSyscall, shim, syscall } from '../../core/host/syscall.ts';
import * as K from '../../core/kernel/constants.ts';
import { ContainerError } from '../../core/kernel/error.ts';
import { openat } from '../unpack/at.ts';
import { readDirectory } from '../unpack/remove-tree.ts';
import { isHostPolicy } from '../unpack/untrusted.ts';
import { encodeHeader, endOfArchive, paddingOf } from './encode.ts';
import { type Entry, type EntryType, type Extent, shown } from './entry.ts';
import { BLOCK } from './header.ts';

const READ_BYTES = 512 * 1024;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const PATH_MAX = 4096;

const types: Record<number, EntryType> = {
  [K.S_IFREG]: 'file',
  [K.S_IFDIR]: 'directory',
  [K.S_IFLNK]: 'symlink',
  [K.S_IFCHR]: 'char',
  [K.S_IFBLK]: 'block',
  [K.S_IFIFO]: 'fifo',
};

interface Walk {
  device: bigint;
  /** The first name of a file that has several, by inode. */
  linked: Map<bigint, string>;
  layer: boolean;
}

/**
 * The archive in pieces, entries in the order of their names' bytes; of a layer of the store, overlayfs's marks as OCI writes them.
 * Throws ContainerError for a file that changes meanwhile.
 */
export async function* archiveDirectory(path: string, kind: 'files' | 'layer' = 'files'): AsyncGenerator<Buffer> {
  const fd = openSync(path, K.O_RDONLY | K.O_DIRECTORY);
  try {
    const stat = fstatSync(fd, { bigint: true });
    yield encodeHeader({ ...entryOf('./', 'directory', stat), xattrs: readXattrs(fd) });
    yield* archiveEntries(fd, '', { device: stat.dev, linked: new Map(), layer: kind === 'layer' });
    yield endOfArchive;
  } finally {
    closeSync(fd);
  }
}

async function* archiveEntries(dirfd: number, prefix: string, walk: Walk): AsyncGenerator<Buffer> {
  const names = readDirectory(dirfd).map(({ name }) => name);
  for (const name of names.sort((a, b) => (a < b ? -1 : 1))) {
    if (name.startsWith('.wh.'))
      throw new ContainerError(
        `${shown(prefix + name)} is named like the whiteout of a layer, so no layer can hold it`,
      );
    const pathFd = openat(dirfd, name, K.O_PATH);
    try {
      yield* archiveOne(dirfd, pathFd, name, prefix, walk);
    } finally {
      closeSync(pathFd);
    }
  }
}

async function* archiveOne(dirfd: number, pathFd: number, name: string, prefix: string, walk: Walk) {
  const stat = fstatSync(pathFd, { bigint: true });
  const type = types[Number(stat.mode) & K.S_IFMT];
  if (type === undefined) return; // a socket means nothing without its process
  if (walk.layer && type === 'char' && stat.rdev === 0n) {
    yield marker(`${prefix}.wh.${name}`, stat);
    return;
  }
  const path = prefix + name;
  const first = walk.linked.get(stat.ino);
  if (type !== 'directory' && first !== undefined && stat.dev === walk.device) {
    yield encodeHeader({ ...entryOf(path, 'link', stat), linkname: first, size: 0 });
    return;
  }
  if (type !== 'directory' && stat.nlink > 1n && stat.dev === walk.device) walk.linked.set(stat.ino, path);
  if (type === 'file') yield* archiveFile(dirfd, name, path);
  else if (type === 'directory') yield* archiveBelow(dirfd, name, path, walk);
  else yield encodeHeader({ ...entryOf(path, type, stat), linkname: type === 'symlink' ? readLink(pathFd) : '' });
}

async function* archiveBelow(dirfd: number, name: string, path: string, walk: Walk): AsyncGenerator<Buffer> {
  const fd = openat(dirfd, name, K.O_RDONLY | K.O_DIRECTORY);
  try {
    const stat = fstatSync(fd, { bigint: true });
    yield encodeHeader({ ...entryOf(`${path}/`, 'directory', stat), xattrs: readXattrs(fd) });
    if (walk.layer && isOpaque(fd)) yield marker(`${path}/.wh..wh..opq`, stat);
    if (stat.dev === walk.device) yield* archiveEntries(fd, `${path}/`, walk);
  } finally {
    closeSync(fd);
  }
}

/** Source: OCI image-spec, layer.md, "Whiteouts". */
function marker(name: string, stat: BigIntStats): Buffer {
  return encodeHeader({ ...entryOf(name, 'file', stat), mode: 0 });
}

/** Source: the kernel's overlayfs.rst. */
function isOpaque(fd: number): boolean {
  return rawSyscall('fgetxattr', fd, 'trusted.overlay.opaque', Buffer.alloc(8), 8) > 0;
}

async function* archiveFile(dirfd: number, name: string, path: string): AsyncGenerator<Buffer> {
  const fd = openat(dirfd, name, K.O_RDONLY | K.O_NONBLOCK | K.O_NOCTTY);
  try {
    const stat = fstatSync(fd, { bigint: true });
    const entry: Entry = { ...entryOf(path, 'file', stat), size: Number(stat.size), xattrs: readXattrs(fd) };
    if (stat.blocks * 512n < stat.size) entry.extents = readExtents(fd, entry.size);
    yield encodeHeader(entry);
    let stored = 0;
    for (const extent of entry.extents ?? [{ offset: 0, length: entry.size }]) {
      yield* readExtent(fd, extent, path);
      stored += extent.length;
    }
    yield paddingOf(stored);
  } finally {
    closeSync(fd);
  }
}

function* readExtent(fd: number, { offset, length }: Extent, path: string): Generator<Buffer> {
  for (let done = 0; done < length; ) {
    const chunk = Buffer.allocUnsafe(Math.min(READ_BYTES, length - done));
    const count = readSync(fd, chunk, 0, chunk.length, offset + done);
    if (count === 0) throw new ContainerError(`${shown(path)} became shorter while it was read`);
    yield chunk.subarray(0, count);
    done += count;
  }
}

function entryOf(name: string, type: EntryType, { mode, uid, gid, rdev, mtimeNs }: BigIntStats): Entry {
  const device = Number(rdev);
  return {
    type,
    name,
    linkname: '',
    mode: Number(mode) & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    mtimeNs,
    devMajor: type === 'char' || type === 'block' ? (device >>> 8) & 0xfff : 0,
    devMinor: type === 'char' || type === 'block' ? (device & 0xff) | ((device >>> 12) & 0xfff00) : 0,
    size: 0,
    xattrs: new Map(),
  };
}

/** readlinkat(2) of an O_PATH descriptor with an empty path. */
function readLink(pathFd: number): string {
  const target = Buffer.alloc(PATH_MAX);
  return target.toString('latin1', 0, syscall('readlinkat', [pathFd, '', target, target.length]));
}

/**
 * lseek(2) with SEEK_DATA and SEEK_HOLE; ENXIO means that no data follows. Runs are widened to whole blocks of the
 * archive: GNU tar fills a run up to one, other readers don't, and so there is nothing to fill.
 */
function readExtents(fd: number, size: number): Extent[] {
  const extents: Extent[] = [];
  for (let at = 0; at < size; ) {
    const data = syscall('lseek', [fd, at, SEEK_DATA], ['ENXIO']);
    if (data < 0 || data >= size) break;
    const offset = Math.max(at, data - (data % BLOCK));
    at = Math.min(Math.ceil(syscall('lseek', [fd, data, SEEK_HOLE]) / BLOCK) * BLOCK, size);
    extents.push({ offset, length: at - offset });
  }
  return extents;
}

const FLISTXATTR = process.arch === 'arm64' ? 13 : 196;

/** flistxattr(2), fgetxattr(2): what an archive may carry. A file system without attributes has none. */
function readXattrs(fd: number): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  const memory = Buffer.alloc(64 * 1024);
  const length = shim('tinyctr_syscall', [FLISTXATTR, fd, memory, memory.length, 0, 0, 0]);
  for (const name of memory.toString('latin1', 0, Math.max(length, 0)).split('\0')) {
    if (name === '' || isHostPolicy(name) || name.startsWith('trusted.overlay.')) continue;
    const size = rawSyscall('fgetxattr', fd, Buffer.from(`${name}\0`, 'latin1'), memory, memory.length);
    if (size < 0) throw failed('fgetxattr', [fd, name, memory, memory.length], -size);
    xattrs.set(name, Buffer.from(memory.subarray(0, size)));
  }
  return xattrs;
}
