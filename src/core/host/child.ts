/** A child process by pidfd: signal it, reap it. Host side. A pidfd can't come to mean another process, a pid can. */
import { closeSync } from 'node:fs';
import * as k from '../kernel/constants.ts';
import { readChildStatus, SIGINFO_SIZE } from '../kernel/structs.ts';
import type { HostFd } from '../stage/stage.ts';
import { syscall } from './syscall.ts';

/** How a process ended: by exit with a status, or by a signal. */
export type ExitStatus = { exited: number } | { signal: number };

/** pidfd_send_signal(2). False if it has ended already. */
export function sendSignal(pidfd: HostFd, signal: number): boolean {
  return syscall('pidfd_send_signal', [pidfd, signal, null, 0], ['ESRCH']) === 0;
}

/** waitid(P_PIDFD, WEXITED | WNOHANG); waitid(2). Undefined while it runs, and for a child of somebody else's. */
export function reap(pidfd: HostFd, flags: number = k.WNOHANG): ExitStatus | undefined {
  const info = Buffer.alloc(SIGINFO_SIZE);
  syscall('waitid', [k.P_PIDFD, pidfd, info, k.WEXITED | flags, null], ['ECHILD']);
  const child = readChildStatus(info);
  if (child.pid === 0) return undefined;
  return child.exited ? { exited: child.status } : { signal: child.status };
}

/** Kills and reaps; closes the pidfd. */
export function destroy(pidfd: HostFd): void {
  sendSignal(pidfd, k.SIGKILL);
  reap(pidfd, 0);
  closeSync(pidfd);
}
