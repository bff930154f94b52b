/**
 * Carries bytes where the caller's terminal or socket is not given to the container itself, and gives the terminal back as
 * it was found. Host side; a module of its own because node:net and node:tty take 2 ms to load, and most starts need neither.
 */
import { Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import { makeRaw, setWindowSize } from '../core/host/terminal.ts';
import type { HostFd } from '../core/stage/stage.ts';

/** Resolves when the container's end is closed. Owns `readEnd`. */
export function relayOutput(readEnd: HostFd, sink: NodeJS.WriteStream): Promise<void> {
  const source = new Socket({ fd: readEnd, readable: true, writable: false });
  sink.once('error', () => source.destroy()); // EPIPE: nobody reads this any more, and the container is to notice
  source.pipe(sink, { end: false });
  return new Promise((resolve) => source.once('close', () => resolve()));
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

/** Between the caller's terminal (raw meanwhile) and the container's. Owns `master`. Returns a function that waits for the last byte. */
export function attachTerminal(master: HostFd, interactive: boolean): () => Promise<void> {
  const terminal = new ReadStream(master);
  const ended = new Promise<void>((resolve) => {
    terminal.once('error', () => resolve()); // EIO: the last process at the other end is gone
    terminal.once('end', resolve);
    terminal.once('close', resolve);
  });
  let lastMs = Date.now();
  terminal.on('data', (chunk) => {
    lastMs = Date.now();
    if (!process.stdout.write(chunk)) {
      terminal.pause();
      process.stdout.once('drain', () => terminal.resume());
    }
  });
  // Somebody outside may have been given the terminal and keep it open: a second of silence is the end as well.
  const quiet = () =>
    new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (!terminal.isPaused() && Date.now() - lastMs > 1000) resolve(clearInterval(timer));
      }, 100);
      void ended.then(() => clearInterval(timer));
    });
  process.stdout.once('error', () => terminal.destroy()); // EPIPE: nobody sees it; the container gets SIGHUP
  const resize = () => process.stdout.isTTY && setWindowSize(master, process.stdout.rows, process.stdout.columns);
  process.on('SIGWINCH', resize);
  let restore = () => {};
  if (interactive) {
    restore = makeRaw(0 as HostFd);
    process.once('exit', restore);
    process.stdin.on('data', (chunk) => terminal.write(chunk));
    process.stdin.once('error', () => process.stdin.pause()); // EIO: the caller's terminal has hung up
  }
  return async () => {
    await Promise.race([ended, quiet()]);
    process.removeListener('SIGWINCH', resize);
    process.removeListener('exit', restore);
    restore();
    process.stdin.pause();
    terminal.destroy();
  };
}
