/** Pipes and window sizes of the host's side. */
import * as k from '../kernel/constants.ts';
import { winsize } from '../kernel/structs.ts';
import type { HostFd } from '../stage/stage.ts';
import { syscall } from './syscall.ts';

/** pipe2(O_CLOEXEC); pipe(2). Read end, write end; both owned by the caller. */
export function pipe(): [HostFd, HostFd] {
  const fds = Buffer.alloc(8);
  syscall('pipe2', [fds, k.O_CLOEXEC]);
  return [fds.readInt32LE(0) as HostFd, fds.readInt32LE(4) as HostFd];
}

/** Takes O_NONBLOCK away, from everybody who has this open file; fcntl(2). */
export function setBlocking(fd: HostFd): void {
  const flags = syscall('fcntl', [fd, k.F_GETFL]);
  if (flags & k.O_NONBLOCK) syscall('fcntl', [fd, k.F_SETFL, flags & ~k.O_NONBLOCK]);
}

/** ioctl(TIOCSWINSZ); TIOCSWINSZ(2const). The foreground process at the other end gets SIGWINCH. */
export function setWindowSize(master: HostFd, rows: number, columns: number): void {
  syscall('ioctl', [master, k.TIOCSWINSZ, winsize(rows, columns)], ['EIO']);
}
