/** The caller's terminal: is there one, its size, its raw mode. Host side. */

import { closeSync, openSync } from 'node:fs';
import { rawSyscall, syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { E } from '../core/kernel/errno.ts';
import { winsize } from '../core/kernel/structs.ts';
import type { HostFd } from '../core/stage/stage.ts';

/** sizeof(struct termios) of the kernel: four 32-bit words of flags, c_line, c_cc[19]. Source: asm-generic/termbits.h. */
export const TERMIOS_SIZE = 36;

/** The settings with everything switched off that the terminal would do to the bytes: cfmakeraw(3). */
export function rawTermios(settings: Uint8Array): Uint8Array {
  const raw = Uint8Array.from(settings);
  const view = new DataView(raw.buffer);
  const change = (offset: number, clear: number, set = 0) =>
    view.setUint32(offset, ((view.getUint32(offset, true) & ~clear) | set) >>> 0, true);
  change(0, 0o2753); // c_iflag: IGNBRK, BRKINT, PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IXON
  change(4, 0o1); // c_oflag: OPOST
  change(8, 0o460, 0o60); // c_cflag: CSIZE and PARENB away, CS8
  change(12, 0o100113); // c_lflag: ISIG, ICANON, ECHO, ECHONL, IEXTEN
  raw[17 + 5] = 0; // c_cc[VTIME]
  raw[17 + 6] = 1; // c_cc[VMIN]
  return raw;
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
    if (rawSyscall('ioctl', fd, k.TCSETS, settings) < 0) standInForHungUp();
  };
}

/**
 * /dev/null in place of each of 0, 1 and 2 that is a terminal which has hung up: at its end Node gives a terminal its settings back,
 * and aborts when that fails with EIO (src/node.cc, ResetStdio).
 */
export function standInForHungUp(): void {
  for (const fd of [0, 1, 2]) {
    if (rawSyscall('ioctl', fd, k.TCGETS, Buffer.alloc(64)) !== -E.EIO) continue;
    const nothing = openSync('/dev/null', 'r+');
    rawSyscall('dup3', nothing, fd, 0);
    closeSync(nothing);
  }
}

/** ioctl(TIOCSWINSZ); TIOCSWINSZ(2const). The foreground process at the other end gets SIGWINCH. */
export function setWindowSize(master: HostFd, rows: number, columns: number): void {
  syscall('ioctl', [master, k.TIOCSWINSZ, winsize(rows, columns)], ['EIO']);
}
