/**
 * Questions to whoever steps through a construction. The thread itself waits, as the construction does: nothing of Node's
 * event loop runs meanwhile. Signals come as bytes of a pipe (src/engine/wait.ts). Host side.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { rawSyscall, syscall } from '../core/host/syscall.ts';
import { SIGCHLD, SIGHUP, SIGINT, SIGQUIT, TCGETS } from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { waitForAny } from '../lifecycle/lifecycle.ts';

/** A line, the end of the input, or the signal that came instead. */
export type Answer = { line: string } | { ended: true } | { signal: number };

const SIGTERM = 15;
const endings = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/** The terminal that the command was started at, whatever 0, 1 and 2 are. Owned by the caller. @throws ContainerError */
export function openTerminal(option: string): HostFd {
  try {
    return openSync('/dev/tty', 'r+') as HostFd;
  } catch (error) {
    throw new ContainerError(`${option} asks at a terminal what to do next, and there is none`, {
      hint: "it reads /dev/tty, so that standard input stays the container's; script -qc 'tinyctr run …' makes one",
      cause: error,
    });
  }
}

const EIO = 5;

/** Puts /dev/null in the place of a terminal that has hung up: Node would abort at its end, because it can't restore its settings. */
export function letGoOfHungUp(): void {
  const none = openSync('/dev/null', 'r+');
  for (const fd of [0, 1, 2])
    if (rawSyscall('ioctl', fd, TCGETS, Buffer.alloc(64)) === -EIO) syscall('dup3', [none, fd, 0]);
  closeSync(none);
}

export class Asker {
  private readonly input: HostFd;
  private readonly output: HostFd;
  private readonly signals: HostFd;
  private text = '';

  /** All three are borrowed; `signals` is the pipe. */
  constructor(input: HostFd, output: HostFd, signals: HostFd) {
    this.input = input;
    this.output = output;
    this.signals = signals;
  }

  print(text: string): void {
    try {
      for (let bytes = Buffer.from(text); bytes.length > 0; ) bytes = bytes.subarray(writeSync(this.output, bytes));
    } catch {
      // nobody sees it any more: the next question will tell
    }
  }

  /** Waits for a line, and for signals that end a program. `childEnded` is asked when a child has: then there is nothing to wait for. */
  ask(question: string, childEnded: () => boolean): Answer {
    this.print(question);
    for (;;) {
      const end = this.text.indexOf('\n');
      if (end >= 0) {
        const line = this.text.slice(0, end).trim();
        this.text = this.text.slice(end + 1);
        return { line };
      }
      waitForAny([this.input, this.signals]);
      const signals = this.caught();
      const signal = signals.find((one) => endings.includes(one));
      if (signal !== undefined) return { signal };
      if (signals.includes(SIGCHLD) && childEnded()) return { line: '' };
      if (signals.length === 0 && !this.read()) return { ended: true };
    }
  }

  private caught(): number[] {
    if (!waitForAny([this.signals], 0)) return [];
    const bytes = Buffer.alloc(64);
    return [...bytes.subarray(0, readSync(this.signals, bytes))];
  }

  /** False at the end, and when the terminal has hung up (EIO). */
  private read(): boolean {
    const bytes = Buffer.alloc(4096);
    try {
      const count = readSync(this.input, bytes);
      this.text += bytes.toString('utf8', 0, count);
      return count > 0;
    } catch {
      return false;
    }
  }
}
