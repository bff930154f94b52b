/**
 * One more process in a container that is there: born in its cgroup and its pid namespace, then the sequence of
 * init/exec.ts. Host side. The container is named by a pidfd of its first process, so that nothing can take its place.
 */
import { closeSync } from 'node:fs';
import { openCgroup, ownCgroup } from '../host/cgroup.ts';
import { inPidNamespace, otherNamespaces } from '../host/namespaces.ts';
import { type SpawnedStage, spawnStage } from '../host/spawn.ts';
import { execProcess } from '../init/exec.ts';
import * as k from '../kernel/constants.ts';
import { SyscallError } from '../kernel/error.ts';
import type { ExecPlan, NamespacePlan } from '../plan/plan.ts';
import type { HostFd, Observer } from '../stage/stage.ts';
import { type AttendedProcess, attend, pipesOf } from './attend.ts';

export interface ExecTarget {
  /** The container's first process, as the host sees it. */
  hostPid: number;
  /** Of that process, proven to be it; borrowed. */
  pidfd: HostFd;
  /** The cgroup's folder on the host. A frozen one holds this process until it thaws. */
  cgroup: string;
  /** It is in a user namespace, whose root is somebody outside. */
  user?: NamespacePlan['user'] | undefined;
}

export interface ExecOptions {
  /** Host descriptors that become 0, 1 and 2, unless the plan has a terminal; borrowed. */
  stdio: readonly [HostFd, HostFd, HostFd];
  observer?: Observer | undefined;
  /** Become 3 and up; borrowed. */
  preserved?: readonly HostFd[];
  /** Takes over the listener of the seccomp filter, if that has one. */
  listener?: (fd: HostFd, hostPid: number) => void;
  /** It goes on when this process ends. */
  outlives?: boolean;
  /** Says better why it failed, while the half-made process still stands. */
  explain?: (error: unknown, hostPid: number) => Promise<unknown>;
}

/** Throws ContainerError or SyscallError; then no process is left. ENOMEM of clone3 and ESRCH of setns: the container has ended. */
export function exec(plan: ExecPlan, target: ExecTarget, options: ExecOptions): Promise<AttendedProcess> {
  const { stdio, preserved = [], outlives = false } = options;
  const namespaces = otherNamespaces(target.hostPid);
  const spawned = spawnInCgroup(target, (cgroupFd) => {
    const spawn = () => spawnStage({ namespaces: 0, cgroupFd, stdio });
    return namespaces & k.CLONE_NEWPID ? inPidNamespace(target.pidfd, spawn) : spawn();
  });
  const pipes = plan.terminal ? [] : pipesOf(stdio, target.user);
  const input = { target: target.pidfd, namespaces, pipes, preserved, outlives };
  return attend(spawned, options, (stage, ready) => execProcess(stage, plan, input, ready));
}

/** Where the container has handed controllers on to cgroups of its own, its cgroup takes no process: then where its first process is. */
function spawnInCgroup({ hostPid, cgroup }: ExecTarget, spawn: (cgroupFd: HostFd) => SpawnedStage): SpawnedStage {
  const born = (folder: string) => {
    const fd = openCgroup(folder);
    try {
      return spawn(fd);
    } finally {
      closeSync(fd);
    }
  };
  try {
    return born(cgroup);
  } catch (error) {
    if (!(error instanceof SyscallError && ['EBUSY', 'EOPNOTSUPP'].includes(error.code))) throw error;
    return born(ownCgroup(hostPid, cgroup));
  }
}
