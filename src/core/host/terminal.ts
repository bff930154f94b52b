/** Pipes and window sizes of the host's side. */
import * as k from '../kernel/constants.ts';
import { rawTermios, TERMIOS_SIZE, winsize } from '../kernel/structs.ts';
import type { HostFd } from '../stage/stage.ts';
import { rawSyscall, syscall } from './syscall.ts';

/** pipe2(O_CLOEXEC | flags); pipe(2). Read end, write end; both owned by the caller. */
export function pipe(flags = 0): [HostFd, HostFd] {
  const fds = new Int32Array(2);
  syscall('pipe2', [fds, k.O_CLOEXEC | flags]);
  return [fds[0] as HostFd, fds[1] as HostFd];
}

/** isatty(3), by ioctl(TCGETS): node:tty takes 2 ms to load. */
export function isTerminal(fd: number): boolean {
  return rawSyscall('ioctl', fd, k.TCGETS, Buffer.alloc(64)) === 0;
}

/** ioctl(TIOCGWINSZ); TIOCGWINSZ(2const). Zeros where there is no terminal, or one without a size. */
export function windowSize(fd: HostFd): { rows: number; columns: number } {
  const size = Buffer.alloc(8);
  rawSyscall('ioctl', fd, k.TIOCGWINSZ, size);
  return { rows: size.readUInt16LE(0), columns: size.readUInt16LE(2) };
}

/**
 * Passes every byte of a terminal through as it is. Returns a function that gives it its old settings back. Node's own
 * setRawMode leaves OPOST on: what a container's terminal wrote as \r\n would become \r\r\n.
 */
export function makeRaw(fd: HostFd): () => void {
  const settings = Buffer.alloc(TERMIOS_SIZE);
  syscall('ioctl', [fd, k.TCGETS, settings]);
  syscall('ioctl', [fd, k.TCSETS, rawTermios(settings)]);
  return () => {
    rawSyscall('ioctl', fd, k.TCSETS, settings); // EIO if it has hung up
  };
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
