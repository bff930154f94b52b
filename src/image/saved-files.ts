/**
 * The files of a saved image, in an archive or in a directory, by name; host side. An archive that can't be read at
 * will (compressed, or from stdin) is first written, decompressed, into the process's folder in the store.
 */
import { closeSync, createReadStream, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { posix } from 'node:path';
import { O_DIRECTORY, O_NONBLOCK, O_RDONLY, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { detectCompression, MAGIC_BYTES } from './compression.ts';
import { openStdin, READ_AHEAD, statSource } from './import.ts';
import { limits } from './limits.ts';
import type { Entry, EntrySink } from './tar/entry.ts';
import { Feed } from './tar/feed.ts';
import { ArchiveError } from './tar/header.ts';
import { readArchive } from './tar/reader.ts';
import { openat2 } from './unpack/at.ts';
import { decompress } from './unpack/layer.ts';
import { cleanPath } from './unpack/path.ts';

export interface SavedFiles {
  has(name: string): boolean;
  /** The whole of a small file. Throws ContainerError when it is missing or larger than a document may be. */
  read(name: string): Buffer;
  /** Throws ContainerError when it is missing. */
  stream(name: string): AsyncIterable<Buffer>;
  close(): void;
}

/** Opens FILE, DIR or - (stdin). `spoolPath` is where a copy may be written. Throws ContainerError. */
export async function openSaved(source: string, spoolPath: string): Promise<SavedFiles> {
  if (source === '-') return await openArchive(openStdin(), source, openSync(spoolPath, 'wx+', 0o600), true);
  if (statSource(source).isDirectory()) return new DirectoryFiles(source);
  if (isReadableAtWill(source)) {
    const fd = openSync(source, 'r');
    return await openArchive(
      createReadStream('', { ...READ_AHEAD, fd, start: 0, autoClose: false }),
      source,
      fd,
      false,
    );
  }
  return await openArchive(createReadStream(source, READ_AHEAD), source, openSync(spoolPath, 'wx+', 0o600), true);
}

function isReadableAtWill(source: string): boolean {
  if (!statSource(source).isFile()) return false;
  const fd = openSync(source, 'r');
  try {
    const start = Buffer.alloc(MAGIC_BYTES);
    readSync(fd, start, 0, start.length, 0);
    return detectCompression(start) === undefined;
  } finally {
    closeSync(fd);
  }
}

/** One pass over the archive notes where each file lies in `fd`; with `copy` it writes it there, decompressed, as well. */
async function openArchive(stream: AsyncIterable<Buffer>, source: string, fd: number, copy: boolean) {
  const index: Index = new Map();
  const feed: Feed = new Feed(
    readArchive(new IndexSink(index, () => feed.consumed), { ...limits, entries: limits.savedFiles }),
  );
  try {
    const { raw } = await decompress(stream, (chunk) => {
      feed.write(chunk);
      for (let done = 0; copy && done < chunk.length; ) done += writeSync(fd, chunk, done);
    });
    feed.end();
    if (raw.bytes === 0) throw new ContainerError('there is nothing to load: the input is empty');
    return new ArchiveFiles(fd, index);
  } catch (error) {
    closeSync(fd);
    throw error instanceof ArchiveError ? new ContainerError(`${source}: ${error.message}`) : error;
  }
}

type Indexed = { offset: number; size: number } | { target: string };
type Index = Map<string, Indexed>;

/** Notes files and links; what else is in the archive belongs to no saved image, and counts as missing. */
class IndexSink implements EntrySink {
  readonly #index: Index;
  readonly #consumed: () => number;

  constructor(index: Index, consumed: () => number) {
    this.#index = index;
    this.#consumed = consumed;
  }

  begin(entry: Entry): void {
    const path = cleanPath(entry.name);
    if (entry.type === 'file' && entry.extents === undefined)
      this.#index.set(path, { offset: this.#consumed(), size: entry.size });
    else if (entry.type === 'symlink')
      this.#index.set(path, { target: posix.normalize(posix.join(posix.dirname(path), entry.linkname)) });
    else if (entry.type === 'link') this.#index.set(path, { target: cleanPath(entry.linkname) });
  }

  data(): void {}

  end(): void {}
}

const MOST_LINKS = 8;

class ArchiveFiles implements SavedFiles {
  readonly #fd: number;
  readonly #index: Index;

  constructor(fd: number, index: Index) {
    this.#fd = fd;
    this.#index = index;
  }

  close(): void {
    closeSync(this.#fd);
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  read(name: string): Buffer {
    const { offset, size } = this.#need(name);
    checkDocumentSize(name, size);
    const bytes = Buffer.alloc(size);
    readSync(this.#fd, bytes, 0, size, offset);
    return bytes;
  }

  stream(name: string): AsyncIterable<Buffer> {
    const { offset, size } = this.#need(name);
    if (size === 0) throw new ContainerError(`${name} of the saved image is empty`);
    return createReadStream('', {
      ...READ_AHEAD,
      fd: this.#fd,
      start: offset,
      end: offset + size - 1,
      autoClose: false,
    });
  }

  /** Old `docker save` writes a layer that it has already written as a link to it. */
  #find(name: string): { offset: number; size: number } | undefined {
    let found = this.#index.get(name);
    for (let links = 0; found !== undefined && 'target' in found && links < MOST_LINKS; links++)
      found = this.#index.get(found.target);
    return found !== undefined && 'offset' in found ? found : undefined;
  }

  #need(name: string): { offset: number; size: number } {
    const found = this.#find(name);
    if (found === undefined) throw missing(name);
    return found;
  }
}

class DirectoryFiles implements SavedFiles {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, O_RDONLY | O_DIRECTORY);
  }

  close(): void {
    closeSync(this.#fd);
  }

  has(name: string): boolean {
    const fd = this.#open(name);
    if (fd >= 0) closeSync(fd);
    return fd >= 0;
  }

  read(name: string): Buffer {
    const fd = this.#need(name);
    try {
      const { size } = fstatSync(fd);
      checkDocumentSize(name, size);
      const bytes = Buffer.alloc(size);
      return bytes.subarray(0, readSync(fd, bytes, 0, size, 0));
    } finally {
      closeSync(fd);
    }
  }

  stream(name: string): AsyncIterable<Buffer> {
    return createReadStream('', { ...READ_AHEAD, fd: this.#need(name) });
  }

  /** Links are followed inside the directory only; what isn't a file counts as missing. */
  #open(name: string): number {
    const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const fd = openat2(this.#fd, name, O_RDONLY | O_NONBLOCK, resolve, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO');
    if (fd < 0 || fstatSync(fd).isFile()) return fd;
    closeSync(fd);
    return -1;
  }

  #need(name: string): number {
    const fd = this.#open(name);
    if (fd < 0) throw missing(name);
    return fd;
  }
}

function checkDocumentSize(name: string, size: number): void {
  if (size > limits.documentBytes)
    throw new ContainerError(`${name} has ${size} bytes, where at most ${limits.documentBytes} are allowed`);
}

function missing(name: string): ContainerError {
  return new ContainerError(`the saved image is incomplete: it has no file ${name}`);
}
