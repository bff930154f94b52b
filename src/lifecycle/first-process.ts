/**
 * A container's first process as the kernel has it. A pid in a file is only where the search begins: that the process is in the
 * container's cgroup proves that it is meant. Host side.
 */
import { closeSync, readFileSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { rawSyscall } from '../core/host/syscall.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { processesIn } from './processes.ts';
import type { RunState } from './state.ts';

type Place = Pick<RunState, 'cgroup' | 'pid'>;

export interface FirstProcess {
  pid: number;
  pidfd: HostFd;
}

/** What of a container runs: a zombie does not. Undefined if nothing does. */
export interface Life {
  /** 0 if it is not known which of the processes is the first. */
  pid: number;
  isFrozen: boolean;
  /** Milliseconds since its start, whatever became of the wall clock; 0 where `pid` is. */
  upMs: number;
}

/** `top`: where the v2 hierarchy is mounted. Source: the kernel's cgroup-v2.rst, cgroup.events. */
export function lifeOf(top: string, state: Place): Life | undefined {
  const events = readOrNothing(`${top}${state.cgroup}/cgroup.events`);
  if (!/^populated 1$/m.test(events)) return undefined;
  const pid = firstProcess(state) ?? 0;
  return { pid, isFrozen: /^frozen 1$/m.test(events), upMs: ageMs(pid) };
}

/** Undefined if there is none that lives. */
function firstProcess(state: Place): number | undefined {
  if (isIn(state.pid, state.cgroup) && isAlive(state.pid)) return state.pid;
  return processesIn(cgroupRoot() + state.cgroup).find(isFirstOfItsNamespace);
}

/** A pidfd of it, owned by the caller. The proof comes after the opening: until then the pid may have become another's. */
export function openFirstProcess(state: Place): FirstProcess | undefined {
  const pid = firstProcess(state);
  if (pid === undefined) return undefined;
  const pidfd = rawSyscall('pidfd_open', pid, 0);
  if (pidfd < 0) return undefined;
  if (isIn(pid, state.cgroup)) return { pid, pidfd: pidfd as HostFd };
  closeSync(pidfd);
  return undefined;
}

/** The cgroup of a process, zombies too, below wherever the v2 hierarchy is mounted. Source: cgroups(7). */
export function cgroupOf(pid: number): string | undefined {
  return /^0::(\/.*?)(?: \(deleted\))?$/m.exec(readOrNothing(`/proc/${pid}/cgroup`))?.[1];
}

function isIn(pid: number, cgroup: string): boolean {
  const path = pid > 0 ? cgroupOf(pid) : undefined;
  return path === cgroup || path?.startsWith(`${cgroup}/`) === true;
}

/** Source: proc_pid_status(5), NSpid; the last number is of its own namespace. */
function isFirstOfItsNamespace(pid: number): boolean {
  return /^NSpid:.*\t1$/m.test(readOrNothing(`/proc/${pid}/status`));
}

/** Fields from the third of proc_pid_stat(5) on; one empty one where the process is gone. */
function statOf(pid: number): string[] {
  const text = readOrNothing(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

const isAlive = (pid: number): boolean => !['', 'Z', 'X'].includes(statOf(pid)[0]!);

/** USER_HZ: what the kernel counts in for user space, on each architecture that tinyctr knows. */
const TICKS_PER_S = 100;

/**
 * Milliseconds since the process was born, also of a zombie; 0 for one that is gone. By the clock of the boot, which nobody sets.
 * Source: proc_pid_stat(5), starttime; proc_uptime(5).
 */
export function ageMs(pid: number): number {
  const ticks = Number(statOf(pid)[19] ?? Number.NaN);
  const uptimeS = Number(readOrNothing('/proc/uptime').split(' ')[0]);
  return Math.max(0, 1000 * uptimeS - (1000 * ticks) / TICKS_PER_S) || 0;
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended
  }
}
