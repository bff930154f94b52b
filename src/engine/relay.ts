/**
 * Carries bytes where the caller's terminal or socket is not given to the container itself, and gives the terminal back as
 * it was found. Host side; a module of its own because node:net and node:tty take 2 ms to load, and most starts need neither.
 */
import { readSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import type { HostFd } from '../core/stage/stage.ts';
import type { DetachKeys } from './detach-keys.ts';
import { makeRaw, setWindowSize, windowSize } from './terminal.ts';
import { type FirstProcess, ThirdCtrlC } from './third-ctrl-c.ts';
import { setBlocking } from './wait.ts';

/** To Bun a pipe is no socket, and node:fs's reads hold each other up; it has files of its own. Its ReadStream can't be written to. */
type BunFile = { stream(): Parameters<typeof Readable.fromWeb>[0] };
const bun = (globalThis as { Bun?: { file(fd: number): BunFile } }).Bun;

export interface Relay {
  /** Resolves when the container's end is closed; with `idleMs`, also when nothing has come for so long. */
  drained(idleMs?: number): Promise<void>;
}

/** Owns `readEnd`. */
export function relayOutput(readEnd: HostFd, sink: NodeJS.WriteStream): Relay {
  const source = bun
    ? Readable.fromWeb(bun.file(readEnd).stream())
    : new Socket({ fd: readEnd, readable: true, writable: false });
  sink.once('error', () => source.destroy()); // EPIPE: nobody reads this any more, and the container is to notice
  source.pipe(sink, { end: false });
  const closed = new Promise<void>((resolve) => source.once('close', () => resolve()));
  return {
    drained(idleMs) {
      if (idleMs === undefined) return closed;
      const destroy = () => source.isPaused() || source.destroy();
      let timer = setTimeout(destroy, idleMs);
      source.on('data', () => {
        clearTimeout(timer);
        timer = setTimeout(destroy, idleMs);
      });
      return closed.finally(() => clearTimeout(timer));
    },
  };
}

/** Owns `writeEnd`. Returns a function that lets go of standard input. */
export function relayInput(writeEnd: HostFd): () => void {
  const sink = new Socket({ fd: writeEnd, readable: false, writable: true });
  const stop = () => {
    process.stdin.unpipe(sink).pause();
    sink.destroy();
  };
  sink.once('error', stop); // EPIPE: the container has closed its input
  process.stdin.once('error', stop);
  process.stdin.pipe(sink);
  return stop;
}

/** Keys that leave the process to itself, and what is called then. */
export interface Leaving {
  keys: DetachKeys;
  left: () => void;
}

/**
 * Somebody goes on reading a terminal whose reader leaves, and so keeps it from hanging up: cat(1), which ends with the last process
 * at the other end. Borrows `master`.
 */
export async function leaveTerminal(master: HostFd): Promise<void> {
  const { spawn } = await import('node:child_process');
  syscall('close_range', [3, 0xffffffff, k.CLOSE_RANGE_CLOEXEC]); // nothing that this process has got from its caller is cat's
  const cat = spawn('cat', { stdio: [master, 'ignore', 'ignore'], cwd: '/', detached: true, env: process.env });
  await new Promise((resolve, reject) => cat.once('spawn', resolve).once('error', reject));
  cat.unref();
}

/**
 * Between the caller's terminal (raw meanwhile) and the container's. Owns `master`. Returns a function that waits for the last
 * byte. `first`: the container's first process, which a Ctrl-C may not reach. `leaving`: what is typed goes through it.
 */
export function attachTerminal(
  master: HostFd,
  interactive: boolean,
  { first, leaving }: { first?: FirstProcess; leaving?: Leaving | undefined } = {},
): () => Promise<void> {
  const terminal = new ReadStream(master);
  const type = (keys: Buffer) => (bun ? writeSync(master, keys) : terminal.write(keys));
  const ended = new Promise<void>((resolve) => {
    terminal.once('error', () => resolve()); // EIO: the last process at the other end is gone
    terminal.once('close', resolve);
    terminal.once('end', () => drain(master));
  });
  let lastMs = Date.now();
  // Written at once, whoever has to wait: the stream would drop what it holds back when the other end closes.
  terminal.on('data', (chunk) => {
    lastMs = Date.now();
    if (!writeAll(chunk)) terminal.destroy();
  });
  const resize = () => {
    const { rows, columns } = windowSize(1 as HostFd);
    if (rows > 0 && columns > 0) setWindowSize(master, rows, columns);
  };
  process.on('SIGWINCH', resize);
  const heed = (keys: Buffer) => {
    const { bytes, isDetached } = leaving?.keys.take(keys) ?? { bytes: keys, isDetached: false };
    if (bytes.length > 0) type(bytes);
    if (isDetached) leaving!.left();
  };
  const hangUp = () => terminal.destroy(); // as its caller's did
  const restore = interactive ? takeKeyboard(heed, hangUp, first && new ThirdCtrlC(master, first)) : () => {};
  return async () => {
    await Promise.race([ended, silence(() => lastMs, ended)]);
    process.removeListener('SIGWINCH', resize);
    restore();
    terminal.destroy();
  };
}

/** Every key goes to the container, none to the caller's terminal itself. Returns what gives both back. */
function takeKeyboard(
  type: (keys: Buffer) => void,
  hangUp: () => void,
  thirdCtrlC: ThirdCtrlC | undefined,
): () => void {
  const restore = makeRaw(0 as HostFd);
  process.once('exit', restore);
  process.stdin.on('data', (chunk: Buffer) => {
    type(chunk);
    thirdCtrlC?.typed(chunk);
  });
  process.stdin.once('end', hangUp); // no key means the end of the input any more
  process.stdin.once('error', hangUp); // EIO
  return () => {
    process.removeListener('exit', restore);
    restore();
    process.stdin.pause();
  };
}

/** Somebody outside may have been given the terminal and keep it open: a second of silence is the end as well. */
function silence(lastMs: () => number, ended: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (Date.now() - lastMs() > 1000) resolve(clearInterval(timer));
    }, 100);
    void ended.then(() => clearInterval(timer));
  });
}

/** Node takes a closed other end for the end of the data (libuv, POLLHUP after a short read): the rest is read here. */
function drain(master: HostFd): void {
  const buffer = Buffer.alloc(65536);
  try {
    while (writeAll(buffer.subarray(0, readSync(master, buffer))));
  } catch {
    // EIO: all was read
  }
}

/** To standard output. False for no bytes, and if nobody reads it any more: then the container gets SIGHUP. */
function writeAll(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EAGAIN') return false;
      setBlocking(1 as HostFd);
    }
  }
  return bytes.length > 0;
}
