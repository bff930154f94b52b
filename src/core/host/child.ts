/** A child process by pidfd: signal it, wait for it. Host side. A pidfd can't come to mean another process, a pid can. */
import { closeSync, read, readSync } from 'node:fs';
import * as k from '../kernel/constants.ts';
import { readChildStatus, SIGINFO_SIZE } from '../kernel/structs.ts';
import type { HostFd } from '../stage/stage.ts';
import { shim, syscall } from './syscall.ts';
import { pipe, setBlocking } from './terminal.ts';

/** How a process ended: by exit with a status, or by a signal. */
export type ExitStatus = { exited: number } | { signal: number };

/** pidfd_send_signal(2). False if it has ended already. */
export function sendSignal(pidfd: HostFd, signal: number): boolean {
  return syscall('pidfd_send_signal', [pidfd, signal, null, 0], ['ESRCH']) === 0;
}

/** waitid(P_PIDFD, WEXITED | WNOHANG); waitid(2). Undefined while it runs. */
export function reap(pidfd: HostFd, flags: number = k.WNOHANG): ExitStatus | undefined {
  const info = Buffer.alloc(SIGINFO_SIZE);
  syscall('waitid', [k.P_PIDFD, pidfd, info, k.WEXITED | flags, null]);
  const child = readChildStatus(info);
  if (child.pid === 0) return undefined;
  return child.exited ? { exited: child.status } : { signal: child.status };
}

/**
 * From now on each of these signals is a byte in the pipe whose read end is returned, to be used by waitForExit until this
 * process ends. Node's own handlers cost a tenth of a millisecond each. SIGCHLD is caught as well. signal-safety(7).
 */
export function catchSignals(signals: readonly number[]): HostFd {
  const [readEnd, writeEnd] = pipe(k.O_NONBLOCK); // a signal handler must not wait
  setBlocking(readEnd);
  shim('tinyctr_catch_signals', [writeEnd, Buffer.from([...signals, k.SIGCHLD]), signals.length + 1]);
  return readEnd;
}

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
  const bytes = Buffer.alloc(64);
  for (;;) {
    const status = reap(pidfd);
    if (status) return status;
    const count = relaying ? await readLater(caught, bytes) : readSync(caught, bytes);
    for (const signal of bytes.subarray(0, count)) if (signal !== k.SIGCHLD) forward(signal);
  }
}

function readLater(fd: HostFd, bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, bytes, 0, bytes.length, null, (error, count) => (error ? reject(error) : resolve(count)));
  });
}

/** Kills and reaps; closes the pidfd. */
export function destroy(pidfd: HostFd): void {
  sendSignal(pidfd, k.SIGKILL);
  reap(pidfd, 0);
  closeSync(pidfd);
}
