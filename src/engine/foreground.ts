/**
 * The process at the terminal supervises: it passes bytes and signals on, waits for the end, and gives the terminal back
 * as it found it. Host side.
 */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants as os } from 'node:os';
import { isatty, ReadStream } from 'node:tty';
import { type ExitStatus, sendSignal, waitForExit } from '../core/host/child.ts';
import { pipe, setBlocking, setWindowSize } from '../core/host/terminal.ts';
import type { HostFd } from '../core/stage/stage.ts';

export interface Stdio {
  /** What the container gets as 0, 1 and 2. */
  fds: [HostFd, HostFd, HostFd];
  /** Closes what was opened for the container, once the container has it, and starts the relays. */
  handOver(): void;
  /** Closes what was opened: the container never ran. */
  discard(): void;
  /** Resolves when all that the container wrote has been passed on. */
  drained(): Promise<void>;
}

/**
 * A terminal of the caller's is not passed on: the container could read the keyboard through it and change its settings.
 * Nor is a socket: nobody could open /dev/stdout (unix(7), ENXIO on open). Both are replaced by pipes.
 */
function needsRelay(fd: number): boolean {
  return isatty(fd) || fstatSync(fd).isSocket();
}

/** Node makes a pipe non-blocking as soon as anything, its own modules included, looks at process.stdin, stdout or stderr. */
function passOn(fd: number): HostFd {
  setBlocking(fd as HostFd);
  return fd as HostFd;
}

/** Files and pipes are passed on as they are, and from then on nothing may touch process.stdin, stdout or stderr. */
export function openStdio(interactive: boolean): Stdio {
  const opened: number[] = [];
  const ours: number[] = [];
  const relays: (() => Promise<void>)[] = [];
  let stopInput = () => {};
  const output = (fd: 1 | 2): HostFd => {
    if (!needsRelay(fd)) return passOn(fd);
    const [readEnd, writeEnd] = pipe();
    opened.push(writeEnd);
    ours.push(readEnd);
    relays.push(() => relayOutput(readEnd, fd === 1 ? process.stdout : process.stderr));
    return writeEnd;
  };
  const input = (): HostFd => {
    if (interactive && !needsRelay(0)) return passOn(0);
    if (!interactive) {
      const fd = openSync('/dev/null', 'r') as HostFd;
      opened.push(fd);
      return fd;
    }
    const [readEnd, writeEnd] = pipe();
    opened.push(readEnd);
    ours.push(writeEnd);
    relays.push(async () => {
      stopInput = relayInput(writeEnd);
    });
    return readEnd;
  };
  const fds: Stdio['fds'] = [input(), output(1), output(2)];
  let running: Promise<void>[] = [];
  return {
    fds,
    handOver() {
      for (const fd of opened) closeSync(fd);
      running = relays.map((start) => start());
    },
    discard() {
      for (const fd of [...opened, ...ours]) closeSync(fd);
    },
    async drained() {
      stopInput();
      await Promise.all(running);
    },
  };
}

/** Resolves when the container's end is closed. Owns `readEnd`. */
function relayOutput(readEnd: HostFd, sink: NodeJS.WriteStream): Promise<void> {
  const source = new Socket({ fd: readEnd, readable: true, writable: false });
  sink.once('error', () => source.destroy()); // EPIPE: nobody reads this any more, and the container is to notice
  source.pipe(sink, { end: false });
  return new Promise((resolve) => source.once('close', () => resolve()));
}

/** Owns `writeEnd`. Returns a function that lets go of standard input. */
function relayInput(writeEnd: HostFd): () => void {
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

/** Between the caller's terminal (raw meanwhile) and the container's. Owns `master`. Returns a function that waits for the last byte. */
export function attachTerminal(master: HostFd, interactive: boolean): () => Promise<void> {
  const terminal = new ReadStream(master);
  const ended = new Promise<void>((resolve) => {
    terminal.once('error', () => resolve()); // EIO: the last process at the other end is gone
    terminal.once('end', resolve);
    terminal.once('close', resolve);
  });
  terminal.on('data', (chunk) => {
    if (!process.stdout.write(chunk)) {
      terminal.pause();
      process.stdout.once('drain', () => terminal.resume());
    }
  });
  process.stdout.once('error', () => terminal.destroy()); // EPIPE: nobody sees it; the container gets SIGHUP
  const resize = () => process.stdout.isTTY && setWindowSize(master, process.stdout.rows, process.stdout.columns);
  process.on('SIGWINCH', resize);
  const restore = () => {
    if (process.stdin.isTTY && process.stdin.isRaw) process.stdin.setRawMode(false);
  };
  if (interactive) {
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.once('exit', restore);
    process.stdin.on('data', (chunk) => terminal.write(chunk));
  }
  return async () => {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
    process.removeListener('SIGWINCH', resize);
    restore();
    process.stdin.pause();
    terminal.destroy();
  };
}

/** Signals that end or inform a program; the others are Node's or the kernel's business. */
const forwarded = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR2', 'SIGTERM', 'SIGCONT', 'SIGALRM'] as const;

/**
 * Waits for the container, forwarding signals meanwhile. Process 1 ignores signals it has no handler for, so the third
 * SIGINT or SIGTERM kills it.
 */
export async function superviseForeground(pidfd: HostFd): Promise<ExitStatus> {
  let insisted = 0;
  const handlers = forwarded.map((name) => {
    const handler = () => {
      if ((name === 'SIGINT' || name === 'SIGTERM') && ++insisted === 3) {
        writeSync(2, 'tinyctr: the third signal: the container ignores it as process 1 may, so it is killed\n');
        sendSignal(pidfd, os.signals.SIGKILL);
      } else sendSignal(pidfd, os.signals[name]);
    };
    process.on(name, handler);
    return () => process.removeListener(name, handler);
  });
  const status = await waitForExit(pidfd);
  for (const remove of handlers) remove();
  closeSync(pidfd);
  return status;
}

/** As the shell and docker have it: the status, or 128 plus the signal's number. */
export function exitCode(status: ExitStatus): number {
  return 'exited' in status ? status.exited : 128 + status.signal;
}
