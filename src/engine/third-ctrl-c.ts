/**
 * The way out of `run -it busybox sleep 1000`: a container's first process does not get a SIGINT that it has no handler for
 * (pid_namespaces(7)), and the caller's terminal passes every key on. Host side.
 */
import { readFileSync, writeSync } from 'node:fs';
import { sendSignal } from '../core/host/child.ts';
import { rawSyscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { TERMIOS_SIZE } from './terminal.ts';

export interface FirstProcess {
  pidfd: HostFd;
  hostPid: number;
}

const CTRL_C = 3;
/** Sources: asm-generic/ioctls.h, asm-generic/termbits.h. */
const TIOCGPGRP = 0x540f;
const ISIG = 0o1;
const C_LFLAG = 12;

export class ThirdCtrlC {
  private readonly master: HostFd;
  private readonly first: FirstProcess;
  private count = 0;

  constructor(master: HostFd, first: FirstProcess) {
    this.master = master;
    this.first = first;
  }

  /** Keys as they came from the keyboard, after they were passed on. The third Ctrl-C in a row that nobody could hear kills. */
  typed(keys: Uint8Array): void {
    this.count = keys.every((key) => key === CTRL_C) ? this.count + keys.length : 0;
    if (this.count < 3 || !this.isUnheard()) return;
    writeSync(2, '\r\ntinyctr: the third Ctrl-C: the container ignores it as process 1 may, so it is killed\r\n');
    sendSignal(this.first.pidfd, k.SIGKILL);
  }

  /** The terminal makes a SIGINT of the key, for the first process alone, and that has no handler. */
  private isUnheard(): boolean {
    const settings = Buffer.alloc(TERMIOS_SIZE);
    const group = Buffer.alloc(4);
    if (rawSyscall('ioctl', this.master, k.TCGETS, settings) !== 0) return false;
    if (!(settings.readUInt32LE(C_LFLAG) & ISIG)) return false;
    if (rawSyscall('ioctl', this.master, TIOCGPGRP, group) !== 0) return false;
    return group.readInt32LE(0) === this.first.hostPid && !handles(this.first.hostPid, k.SIGINT);
  }
}

/** SigCgt of /proc/PID/status; proc_pid_status(5). True for a process that is gone: it needs no help. */
function handles(pid: number, signal: number): boolean {
  try {
    const mask = /^SigCgt:\t([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
    return (BigInt(`0x${mask}`) & (1n << BigInt(signal - 1))) !== 0n;
  } catch {
    return true;
  }
}
