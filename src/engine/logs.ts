/** What a container wrote, read back from its log files (json-file), which the keeper writes. Host side. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs';

export const LOG_NAME = 'container.log';
const CHUNK = 1 << 20;
/** How often a listing is tried again that the keeper has changed meanwhile; it renames a few files and is through. */
const PATIENCE = 1000;

/** A piece of output as it came: a line, or part of one. */
export interface LogPiece {
  bytes: Buffer;
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds. */
  time: string;
}

interface LogFile {
  path: string;
  ino: number;
}

/** The files of a container's log, the oldest first. A rotation gives each the name of the one before it (keeper.c, rotate). */
export function logFiles(folder: string): LogFile[] {
  const number = (name: string) =>
    name === LOG_NAME ? 0 : Number(/^container\.log\.([1-9][0-9]*)$/.exec(name)?.[1] ?? -1);
  const names = readdirSync(folder).filter((name) => number(name) >= 0);
  return names
    .sort((a, b) => number(b) - number(a))
    .flatMap((name) => {
      const ino = lstatSync(`${folder}/${name}`, { throwIfNoEntry: false })?.ino;
      return ino === undefined ? [] : [{ path: `${folder}/${name}`, ino }];
    });
}

/** One that no rotation was in the midst of: two in a row are the same. */
function settledFiles(folder: string): LogFile[] {
  const text = (files: readonly LogFile[]) => files.map(({ path, ino }) => `${path} ${ino}`).join('\n');
  let files = logFiles(folder);
  for (let i = 0; i < PATIENCE; i++) {
    const again = logFiles(folder);
    if (text(again) === text(files)) break;
    files = again;
  }
  return files;
}

/** Bytes are read as Latin-1, so that what is not UTF-8 comes back as it was. Undefined for a damaged line. */
function parse(line: Buffer): LogPiece | undefined {
  try {
    const { log, stream, time } = JSON.parse(line.toString('latin1')) as Record<string, string>;
    if (log === undefined || time === undefined || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
    return { bytes: Buffer.from(log, 'latin1'), stream, time };
  } catch {
    return undefined;
  }
}

/** Reads a log on and on: each call of `read` gives what has come since the last one, also across rotations. */
export class LogReader {
  readonly folder: string;
  /** Lines that can't be read: a crash of the machine may leave such. */
  damaged = 0;
  private fd: number | undefined;
  /** Of the open file; what is before `at` is read. */
  private ino = 0;
  private at = 0;
  private rest = Buffer.alloc(0);

  constructor(folder: string) {
    this.folder = folder;
  }

  /** What is there already is not read. */
  skip(): void {
    while (this.openNext());
    if (this.fd === undefined) return;
    const { size } = fstatSync(this.fd);
    const tail = Buffer.alloc(Math.min(size, CHUNK)); // the longest line is shorter
    readSync(this.fd, tail, 0, tail.length, size - tail.length);
    this.at = size - tail.length + tail.lastIndexOf(10) + 1;
  }

  *read(): Generator<LogPiece> {
    if (this.fd === undefined && !this.openNext()) return;
    for (;;) {
      yield* this.readOpen();
      const last = this.fd!;
      const next = this.next();
      if (next === undefined) return;
      yield* this.readOpen(); // what came before it was put aside
      closeSync(last);
      this.take(next);
    }
  }

  /** Goes on to the file after the open one, the oldest at first. False if there is none. */
  private openNext(): boolean {
    const next = this.next();
    if (next === undefined) return false;
    this.close();
    this.take(next);
    return true;
  }

  private take({ fd, ino }: { fd: number; ino: number }): void {
    Object.assign(this, { fd, ino, at: 0, rest: Buffer.alloc(0) });
  }

  /** The open file keeps its inode while it is open: no other can be taken for it. If it is gone, so are those before the oldest. */
  private next(): { fd: number; ino: number } | undefined {
    for (;;) {
      const files = settledFiles(this.folder);
      const mine = this.fd === undefined ? -1 : files.findIndex(({ ino }) => ino === this.ino);
      const file = files[mine + 1];
      if (file === undefined) return undefined;
      const fd = openIfThere(file.path);
      if (fd === undefined) continue;
      if (fstatSync(fd).ino === file.ino) return { fd, ino: file.ino };
      closeSync(fd); // it has another name by now
    }
  }

  private *readOpen(): Generator<LogPiece> {
    const chunk = Buffer.alloc(CHUNK);
    for (let length = this.fill(chunk); length > 0; length = this.fill(chunk)) {
      const bytes = Buffer.concat([this.rest, chunk.subarray(0, length)]);
      let at = 0;
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, at)) {
        const piece = parse(bytes.subarray(at, end));
        at = end + 1;
        if (piece) yield piece;
        else this.damaged++;
      }
      this.rest = bytes.subarray(at); // a last line that is not whole yet
    }
  }

  private fill(chunk: Buffer): number {
    const length = readSync(this.fd!, chunk, 0, chunk.length, this.at);
    this.at += length;
    return length;
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}
