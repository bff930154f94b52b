/** `kill`: a signal to the container's process, or to all in its cgroup. Host side. */

import { closeSync } from 'node:fs';
import { constants as os } from 'node:os';
import { cgroupRoot, killCgroup } from '../core/host/cgroup.ts';
import { sendSignal } from '../core/host/child.ts';
import { rawSyscall } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { openProcess } from '../lifecycle/lifecycle.ts';
import { processesIn } from '../lifecycle/processes.ts';
import { findContainer, frozenSpec } from './state.ts';

/** 1 to 64, or a name with or without SIG, in any case. 0 is none: it only asks whether there is anybody (kill(2)). */
export function parseSignal(text: string): number {
  if (/^(0|[1-9]\d?)$/.test(text) && Number(text) <= 64) return Number(text);
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`;
  if (Object.hasOwn(os.signals, name)) return os.signals[name as NodeJS.Signals];
  throw new ContainerError(
    `unknown signal ${JSON.stringify(text)}; allowed are 0 to 64 and names such as TERM or SIGTERM`,
  );
}

/** The kernel ends a pid namespace with its first process; in one that is not the container's own the others would live on. */
const isShared = (folder: string): boolean =>
  !frozenSpec(folder).linux?.namespaces?.some(({ type, path }) => type === 'pid' && !path);

/** With `all` also of a stopped container: where the pid namespace is shared, others may have outlived its process. */
export function killContainer(root: string, id: string, signal: number, all: boolean): void {
  const { folder, state, status } = findContainer(root, id);
  const cgroup = cgroupRoot() + state.cgroup;
  const isKill = signal === os.signals.SIGKILL;
  if (isKill && (all || (isShared(folder) && processesIn(cgroup).length > 0))) killCgroup(cgroup);
  else if (all) signalAll(cgroup, signal);
  else signalProcess(status === 'stopped' ? undefined : openProcess(state), signal);
}

function signalProcess(pidfd: HostFd | undefined, signal: number): void {
  const sent = pidfd !== undefined && sendSignal(pidfd, signal);
  if (pidfd !== undefined) closeSync(pidfd);
  if (!sent) throw new ContainerError('container not running');
}

function signalAll(cgroup: string, signal: number): void {
  for (const pid of processesIn(cgroup)) {
    const pidfd = rawSyscall('pidfd_open', pid, 0);
    if (pidfd < 0) continue;
    if (processesIn(cgroup).includes(pid)) sendSignal(pidfd as HostFd, signal); // it is still the one we saw
    closeSync(pidfd);
  }
}
