/** The process at the terminal supervises: it gives the container its 0, 1 and 2, passes signals on, and waits for the end. Host side. */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { type ExitStatus, sendSignal } from '../core/host/child.ts';
import * as k from '../core/kernel/constants.ts';
import type { HostFd } from '../core/stage/stage.ts';
import type { Relay } from './relay.ts';
import { isTerminal, standInForHungUp } from './terminal.ts';
import { catchSignals, pipe, setBlocking, waitUntilLeft } from './wait.ts';

export interface Stdio {
  /** What the container gets as 0, 1 and 2. */
  fds: [HostFd, HostFd, HostFd];
  /** Closes what was opened for the container, once the container has it, and starts the relays. True if there are any. */
  handOver(): Promise<boolean>;
  /** Closes what was opened: the container never ran. */
  discard(): void;
  /** Resolves when all that the container wrote has been passed on; with `idleMs`, also when nothing came for so long. */
  drained(idleMs?: number): Promise<void>;
}

/**
 * A terminal of the caller's is not passed on: the container could read the keyboard through it and change its settings.
 * Nor is a socket: nobody could open /dev/stdout (unix(7), ENXIO on open). Both are replaced by pipes.
 */
function needsRelay(fd: number): boolean {
  return isTerminal(fd) || fstatSync(fd).isSocket();
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
  const inputs: ((relay: typeof import('./relay.ts')) => void)[] = [];
  const outputs: ((relay: typeof import('./relay.ts')) => Relay)[] = [];
  let stopInput = () => {};
  const output = (fd: 1 | 2): HostFd => {
    if (!needsRelay(fd)) return passOn(fd);
    const [readEnd, writeEnd] = pipe();
    opened.push(writeEnd);
    ours.push(readEnd);
    outputs.push(({ relayOutput }) => relayOutput(readEnd, fd === 1 ? process.stdout : process.stderr));
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
    inputs.push(({ relayInput }) => {
      stopInput = relayInput(writeEnd);
    });
    return readEnd;
  };
  const fds: Stdio['fds'] = [input(), output(1), output(2)];
  let running: Relay[] = [];
  return {
    fds,
    async handOver() {
      for (const fd of opened) closeSync(fd);
      if (inputs.length + outputs.length === 0) return false;
      const relay = await import('./relay.ts');
      for (const start of inputs) start(relay);
      running = outputs.map((start) => start(relay));
      return true;
    },
    discard() {
      for (const fd of [...opened, ...ours]) closeSync(fd);
    },
    async drained(idleMs) {
      stopInput();
      await Promise.all(running.map((relay) => relay.drained(idleMs)));
    },
  };
}

/** Signals that end or inform a program; the others are Node's or the kernel's. SIGUSR1 would start Node's debugger. */
export const forwarded = [k.SIGHUP, k.SIGINT, k.SIGQUIT, k.SIGUSR1, k.SIGUSR2, k.SIGTERM, k.SIGCONT, k.SIGALRM];

/** Waits for the end of the process, whose pidfd it owns. `relaying`: bytes are carried to or from it meanwhile. */
export interface Supervise {
  (pidfd: HostFd, relaying: boolean): Promise<ExitStatus>;
  /** Undefined when it was left: `isLeft` is asked after each signal. */
  (pidfd: HostFd, relaying: boolean, isLeft: () => boolean): Promise<ExitStatus | undefined>;
  /** Where signals come as bytes; to be read before that only. */
  caught: HostFd;
}

/**
 * Call it before the process is started: a signal that comes meanwhile would end only us. What it returns waits and forwards
 * signals. The first process of a container ignores those it has no handler for, so the third SIGINT or SIGTERM kills it.
 */
export function superviseForeground(isFirst = true): Supervise {
  const caught = catchSignals(forwarded);
  const supervise = async (pidfd: HostFd, relaying: boolean, isLeft = () => false) => {
    let insisted = 0;
    const forward = (signal: number) => {
      if (signal === k.SIGHUP) process.once('exit', standInForHungUp);
      if (isFirst && (signal === k.SIGINT || signal === k.SIGTERM) && ++insisted === 3) {
        writeSync(2, 'tinyctr: the third signal: the container ignores it as process 1 may, so it is killed\n');
        sendSignal(pidfd, k.SIGKILL);
      } else sendSignal(pidfd, signal);
    };
    const status = await waitUntilLeft(pidfd, caught, forward, relaying, isLeft);
    closeSync(pidfd);
    return status;
  };
  return Object.assign(supervise as Omit<Supervise, 'caught'>, { caught }) as Supervise;
}

/** As the shell and docker have it: the status, or 128 plus the signal's number. */
export function exitCode(status: ExitStatus): number {
  return 'exited' in status ? status.exited : 128 + status.signal;
}
