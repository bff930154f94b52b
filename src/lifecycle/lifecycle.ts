/**
 * A container's life after the process that made it is gone: what its state is, how it is started and ended. Host side.
 * States are never remembered, they are read from the kernel: is the process there, and what does the stage note on
 * its page. Source: runtime-spec runtime.md, "State" and "Lifecycle".
 */
import { closeSync, constants, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { awaitEvent, cgroupRoot, killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { sendSignal } from '../core/host/child.ts';
import { rawSyscall, syscall } from '../core/host/syscall.ts';
import { SIGKILL } from '../core/kernel/constants.ts';
import { E } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { decodePage, PHASE_RETURNED, type StagePage, sizes } from '../core/stage/protocol.ts';
import type { HostFd, LastFrame } from '../core/stage/stage.ts';
import { StateFolder } from './state.ts';

/** What stands in state.json. */
export interface ContainerState {
  id: string;
  ociVersion: string;
  bundle: string;
  rootfs: string;
  /** ISO 8601. */
  created: string;
  annotations: Record<string, string>;
  /** The cgroup, below wherever the v2 hierarchy is mounted for who reads this. */
  cgroup: string;
  /** As the host sees it; 0 until it is born. */
  pid: number;
  /** Of /proc/PID/stat: with the pid it names a process for ever. */
  startTime: string;
  /** Once create is through: what is left to do. */
  last?: LastFrame;
  /** Once it runs without ever having waited. */
  running?: true;
}

export type Status = 'creating' | 'created' | 'running' | 'paused' | 'stopped';

/** In ticks since boot; '' for a process that is gone or only waits to be reaped. */
export function startTime(pid: number): string {
  return readProcess(pid)?.startTime ?? '';
}

/** Of a process that is more than a zombie. Source: proc_pid_stat(5), fields 3, 9 and 22. */
function readProcess(pid: number): { startTime: string; ending: boolean } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { startTime: fields[19]!, ending: (Number(fields[6]) & PF_EXITING) !== 0 };
  } catch {
    return undefined;
  }
}

const PF_EXITING = 4;

/** Nobody can enter it any more: it has ended, or is about to. A first process waits at its end for all of its pid namespace. */
export function isEnding({ pid, startTime: started }: ContainerState): boolean {
  const process = readProcess(pid);
  return process === undefined || process.startTime !== started || process.ending;
}

/** `folder` is the container's below the root. */
export function statusOf(folder: string, state: ContainerState): Status {
  if (state.pid === 0) return isLocked(folder) ? 'creating' : 'stopped';
  const process = readProcess(state.pid);
  if (process?.startTime !== state.startTime) return 'stopped';
  const events = readIfThere(`${cgroupRoot()}${state.cgroup}/cgroup.events`);
  // It waits for somebody to reap a process that had entered its pid namespace; of its own ones none is left.
  if (process.ending && !/^populated 1$/m.test(events)) return 'stopped';
  if (/^frozen 1$/m.test(events)) return 'paused';
  if (state.running) return 'running';
  if (!state.last) return 'creating';
  const { frame, call } = readPage(folder);
  return frame < state.last.frame || call === 0 ? 'created' : 'running';
}

function isLocked(folder: string): boolean {
  const at = folder.lastIndexOf('/');
  const free = StateFolder.adopt(folder.slice(0, at), folder.slice(at + 1));
  free?.release();
  return free === undefined;
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function readPage(folder: string): StagePage {
  const bytes = Buffer.alloc(sizes.page);
  const fd = openSync(`${folder}/page`, 'r');
  readSync(fd, bytes);
  closeSync(fd);
  return decodePage(bytes);
}

/** A pidfd of the container's process, owned by the caller; undefined if that is gone. */
export function openProcess(state: Pick<ContainerState, 'pid' | 'startTime'>): HostFd | undefined {
  const fd = state.pid > 0 ? rawSyscall('pidfd_open', state.pid, 0) : -E.ESRCH;
  if (fd < 0) return undefined;
  if (startTime(state.pid) === state.startTime) return fd as HostFd;
  closeSync(fd); // the pid means another process by now
  return undefined;
}

const POLLIN = 1;

/** poll(2) for data, a hang-up or an end on any of them. False when `timeoutMs` are over; -1 is never. */
export function waitForAny(fds: readonly HostFd[], timeoutMs = -1): boolean {
  const polled = Buffer.alloc(8 * fds.length);
  for (const [i, fd] of fds.entries()) {
    polled.writeInt32LE(fd, 8 * i);
    polled.writeInt16LE(POLLIN, 8 * i + 4);
  }
  const timespec = new BigInt64Array([BigInt(Math.floor(timeoutMs / 1000)), BigInt(timeoutMs % 1000) * 1_000_000n]);
  const timeout = timeoutMs < 0 ? null : new Uint8Array(timespec.buffer);
  for (;;) {
    const ready = syscall('ppoll', [polled, fds.length, timeout, null, 0], ['EINTR']);
    if (ready >= 0) return ready > 0;
  }
}

/**
 * Opens the gate that a created container waits at, and waits for what becomes of it. The container's end of the FIFO is
 * closed by its exec, or by its death; which of them it was, the page says. `opened` is called while the last frame is under way.
 * Throws SyscallError for a call of it that failed, as init would have while somebody attended.
 */
export function openGate(folder: string, state: ContainerState, opened?: () => void): void {
  const { frame, calls } = state.last!;
  const fifo = openSync(`${folder}/gate`, constants.O_RDONLY | constants.O_NONBLOCK) as HostFd;
  opened?.();
  const pidfd = openProcess(state);
  if (pidfd !== undefined) {
    waitForAny([fifo, pidfd]);
    closeSync(pidfd);
  }
  closeSync(fifo);
  const page = readPage(folder);
  const call = calls[page.call];
  if (page.frame < frame || call === undefined || page.call === 0)
    throw new ContainerError('the container ended before it could be started');
  const name = /^\w+/.exec(call)![0];
  if (page.phase === PHASE_RETURNED && page.result < 0)
    throw new SyscallError({ syscall: name, call, errno: -page.result, side: 'stage', step: 'last frame' });
  if (page.call < calls.length - 1) throw new ContainerError(`the container was killed during ${call}`);
}

/** Kills what is alive in the container's cgroup, waits until nothing is, and removes the cgroup. */
export function destroyContainer(state: ContainerState): void {
  const cgroup = cgroupRoot() + state.cgroup;
  const pidfd = openProcess(state);
  if (existsSync(cgroup)) {
    killCgroup(cgroup);
    if (!awaitEvent(cgroup, 'populated 0', PATIENCE_MS)) throw immortal(state);
  }
  if (pidfd !== undefined) killAndWait(pidfd, state);
  removeCgroup(cgroup);
}

/** Kills the container's process, and waits until it is gone. */
export function killProcess(state: ContainerState): void {
  const pidfd = openProcess(state);
  if (pidfd !== undefined) killAndWait(pidfd, state);
}

const PATIENCE_MS = 10_000;

/** Not for one that ends: a first process waits at its end until others have reaped who had entered its pid namespace. */
function killAndWait(pidfd: HostFd, state: ContainerState): void {
  sendSignal(pidfd, SIGKILL);
  const gone = isEnding(state) || waitForAny([pidfd], PATIENCE_MS);
  closeSync(pidfd);
  if (!gone) throw immortal(state);
}

const immortal = ({ pid }: ContainerState) =>
  new ContainerError(`process ${pid} would not die within ten seconds: see /proc/${pid}/stack`);
