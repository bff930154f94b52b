/** What a container wrote, read back from its log files (json-file), which the keeper writes. Host side. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';

export const LOG_NAME = 'container.log';
const CHUNK = 1 << 20;

/** A piece of output as it came: a line, or part of one. */
export interface LogPiece {
  bytes: Buffer;
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds. */
  time: string;
}

/** The files of a container's log, the oldest first. */
export function logFiles(folder: string): string[] {
  const number = (name: string) =>
    name === LOG_NAME ? 0 : Number(/^container\.log\.([1-9][0-9]*)$/.exec(name)?.[1] ?? -1);
  const names = readdirSync(folder).filter((name) => number(name) >= 0);
  return names.sort((a, b) => number(b) - number(a)).map((name) => `${folder}/${name}`);
}

/** Bytes are read as Latin-1, so that what is not UTF-8 comes back as it was. A last line that is not whole yet is left. */
function parse(line: Buffer): LogPiece {
  const { log, stream, time } = JSON.parse(line.toString('latin1')) as {
    log: string;
    stream: LogPiece['stream'];
    time: string;
  };
  return { bytes: Buffer.from(log, 'latin1'), stream, time };
}

/** Reads a log on and on: each call of `read` gives what has come since the last one, also across a rotation. */
export class LogReader {
  readonly folder: string;
  private fd: number | undefined;
  private rest = Buffer.alloc(0);
  /** Older files still to be read, the oldest first. */
  private before: string[];

  constructor(folder: string) {
    this.folder = folder;
    this.before = logFiles(folder).filter((file) => !file.endsWith(`/${LOG_NAME}`));
  }

  /** What is there already is not read. */
  skip(): void {
    for (const _ of this.read());
  }

  *read(): Generator<LogPiece> {
    for (;;) {
      this.fd ??= this.openNext();
      if (this.fd === undefined) return;
      yield* this.readOpen(this.fd);
      if (this.isCurrent(this.fd)) return;
      yield* this.readOpen(this.fd); // what came before it was put aside
      closeSync(this.fd);
      this.fd = undefined;
    }
  }

  private openNext(): number | undefined {
    const next = this.before.shift() ?? `${this.folder}/${LOG_NAME}`;
    try {
      return openSync(next, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  private isCurrent(fd: number): boolean {
    if (this.before.length > 0) return false;
    const current = statSync(`${this.folder}/${LOG_NAME}`, { throwIfNoEntry: false });
    return current === undefined || current.ino === fstatSync(fd).ino;
  }

  private *readOpen(fd: number): Generator<LogPiece> {
    const chunk = Buffer.alloc(CHUNK);
    for (let length = readSync(fd, chunk); length > 0; length = readSync(fd, chunk)) {
      const bytes = Buffer.concat([this.rest, chunk.subarray(0, length)]);
      let at = 0;
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, at)) {
        yield parse(bytes.subarray(at, end));
        at = end + 1;
      }
      this.rest = bytes.subarray(at);
    }
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd);
  }
}
