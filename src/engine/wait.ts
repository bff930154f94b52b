/** Waiting for a child's end, and for signals meanwhile; pipes. Host side. */
import { read, readSync } from 'node:fs';
import { type ExitStatus, reap } from '../core/host/child.ts';
import { shim, syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import type { HostFd } from '../core/stage/stage.ts';

/** pipe2(O_CLOEXEC | flags); pipe(2). Read end, write end; both owned by the caller. */
export function pipe(flags = 0): [HostFd, HostFd] {
  const fds = new Int32Array(2);
  syscall('pipe2', [fds, k.O_CLOEXEC | flags]);
  return [fds[0] as HostFd, fds[1] as HostFd];
}

/** Takes O_NONBLOCK away, from everybody who has this open file; fcntl(2). */
export function setBlocking(fd: HostFd): void {
  const flags = syscall('fcntl', [fd, k.F_GETFL]);
  if (flags & k.O_NONBLOCK) syscall('fcntl', [fd, k.F_SETFL, flags & ~k.O_NONBLOCK]);
}

/**
 * From now on each of these signals is a byte in the pipe whose read end is returned, to be used by waitForExit until this
 * process ends. Node's own handlers cost a tenth of a millisecond each. SIGCHLD is caught as well. signal-safety(7).
 */
export function catchSignals(signals: readonly number[]): HostFd {
  const [readEnd, writeEnd] = pipe(k.O_NONBLOCK); // a signal handler must not wait
  setBlocking(readEnd);
  catchAgain = () =>
    shim('tinyctr_catch_signals', [writeEnd, Buffer.from([...signals, k.SIGCHLD]), signals.length + 1]);
  catchAgain();
  return readEnd;
}

/** To be called when Node has had a child of its own: it takes SIGCHLD for that long, and gives it back to nobody. */
export let catchAgain: () => void = () => {};

/**
 * Waits until the child has ended, and reaps it; `forward` gets each other signal that is caught. The thread sleeps in
 * read(2), unless `relaying` says that Node's event loop has other things to carry meanwhile.
 */
export async function waitForExit(
  pidfd: HostFd,
  caught: HostFd,
  forward: (signal: number) => void,
  relaying: boolean,
): Promise<ExitStatus> {
  return (await waitUntilLeft(pidfd, caught, forward, relaying, () => false))!;
}

/** The same, or undefined when nobody wants to know any more, as `isLeft` tells after a signal (SIGCHLD will do). */
export async function waitUntilLeft(
  pidfd: HostFd,
  caught: HostFd,
  forward: (signal: number) => void,
  relaying: boolean,
  isLeft: () => boolean,
): Promise<ExitStatus | undefined> {
  const bytes = Buffer.alloc(64);
  for (;;) {
    const status = reap(pidfd);
    if (status || isLeft()) return status;
    const count = relaying ? await readLater(caught, bytes) : readSync(caught, bytes);
    for (const signal of bytes.subarray(0, count)) if (signal !== k.SIGCHLD) forward(signal);
  }
}

function readLater(fd: HostFd, bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, bytes, 0, bytes.length, null, (error, count) => (error ? reject(error) : resolve(count)));
  });
}
