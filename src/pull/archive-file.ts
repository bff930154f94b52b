/**
 * A layer's archive in the store while somebody works on it: the whole blob, or the .partial file that grows. Host side.
 * Who works on it holds the file's lock (flock), which ends with the process: others wait, and go on where it stopped.
 */
import { closeSync, fstatSync, openSync, readSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { blobFile, hasBlob, partialFile } from '../image/blobs.ts';
import { tryLock } from '../image/lock.ts';

const PAUSE_MS = 100;
const READ_BYTES = 512 * 1024;

export class ArchiveFile {
  readonly path: string;
  readonly #fd: number;
  /** Bytes that are there. */
  length: number;
  /** The blob was in the store before. Its bytes are verified like any other's. */
  readonly isWhole: boolean;

  private constructor(path: string, fd: number, isWhole: boolean) {
    this.path = path;
    this.#fd = fd;
    this.isWhole = isWhole;
    this.length = fstatSync(fd).size;
  }

  /** Opens and locks it; undefined when another process, or another layer of this one, has it. */
  static tryOpen(root: string, digest: string): ArchiveFile | undefined {
    const isWhole = hasBlob(root, digest);
    const path = isWhole ? blobFile(root, digest) : partialFile(root, digest);
    let fd: number;
    try {
      fd = openSync(path, isWhole ? 'r' : 'a+', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined; // it has just been removed
      throw error;
    }
    const file = new ArchiveFile(path, fd, isWhole);
    if (tryLock(fd) && isAt(path, fd)) {
      if (isWhole || !hasBlob(root, digest)) return file;
      file.discard(); // the blob came between the two looks: this file is new and empty
    }
    file.close();
    return undefined;
  }

  /** Waits for its turn; `known` is asked before each attempt, and ends the waiting. */
  static async open<T>(
    root: string,
    digest: string,
    known: () => T | undefined,
    waiting: () => void,
    signal: AbortSignal,
  ): Promise<ArchiveFile | T> {
    for (;;) {
      const result = known();
      if (result !== undefined) return result;
      const file = ArchiveFile.tryOpen(root, digest);
      const late = file && known();
      if (late !== undefined) file?.close();
      if (file !== undefined) return late ?? file;
      waiting();
      await sleep(PAUSE_MS, undefined, { signal });
    }
  }

  *read(): Generator<Buffer> {
    for (let at = 0; at < this.length; ) {
      const chunk = Buffer.allocUnsafe(READ_BYTES);
      const bytes = readSync(this.#fd, chunk, 0, chunk.length, at);
      if (bytes === 0) return;
      at += bytes;
      yield chunk.subarray(0, bytes);
    }
  }

  append(chunk: Buffer): void {
    for (let done = 0; done < chunk.length; ) done += writeSync(this.#fd, chunk, done);
    this.length += chunk.length;
  }

  /** Nothing of it was any good. */
  discard(): void {
    unlinkSync(this.path);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** False when the file was renamed or removed between open and lock. */
function isAt(path: string, fd: number): boolean {
  const [here, opened] = [statSync(path, { throwIfNoEntry: false }), fstatSync(fd)];
  return here !== undefined && here.ino === opened.ino && here.dev === opened.dev;
}
