/**
 * The parent's page: a cgroup, a process in new namespaces, the sequence of src/core/init, and a container is running.
 * Host side. Read this first, then init/container.ts.
 */
import { closeSync, readFileSync } from 'node:fs';
import { createCgroup, killCgroup, openCgroup, removeCgroup } from '../host/cgroup.ts';
import { attachDeviceRules } from '../host/device-filter.ts';
import { openNamespaces, withPidNamespace } from '../host/namespaces.ts';
import { type SpawnedStage, spawnStage } from '../host/spawn.ts';
import { nativeFolder } from '../host/syscall.ts';
import { sealedProgram } from '../host/wire.ts';
import { type InitDescriptors, initContainer, type Ready } from '../init/container.ts';
import * as k from '../kernel/constants.ts';
import type { Plan } from '../plan/plan.ts';
import type { HostFd, Observer } from '../stage/stage.ts';
import { type AttendedProcess, attend, pipesOf } from './attend.ts';

export interface LaunchOptions {
  /** Host descriptors that become 0, 1 and 2, unless the plan has a terminal; borrowed. */
  stdio: readonly [HostFd, HostFd, HostFd];
  observer?: Observer;
  /** Descriptors that become 3 and up of the container; borrowed. */
  preserved?: readonly HostFd[];
  /** The container is only created, outlives this process, and waits for its start. */
  created?: Created;
  /** The process becomes a child of this one's parent, who waits for it. */
  sibling?: boolean;
  /** Called once the process exists, with its pid: what must be on disk before anything can go wrong. */
  born?: (hostPid: number) => void;
  /** Called while the stage waits, for hooks: all is mounted and the root still the host's, or only the last frame is left. */
  interlude?: (moment: 'mounted' | 'ready') => void;
  /** Takes over the listener of the seccomp filter, if that has one and the container starts at once. */
  listener?: (fd: HostFd, hostPid: number) => void;
  /** Says better why it failed, while the half-built container still stands; hostPid is 0 if there is none. */
  explain?: (error: unknown, hostPid: number) => Promise<unknown>;
}

export interface Created {
  /** O_PATH descriptor of the FIFO that start opens; borrowed. */
  gate: HostFd;
  /** Both ends of a socket, if the seccomp filter has a listener: the stage keeps them for who starts the container; borrowed. */
  outbox: readonly HostFd[];
  /** A file of 4096 bytes, in which the stage notes what it does; taken over. */
  page: HostFd;
}

export interface RunningContainer extends AttendedProcess {
  /** The cgroup's folder on the host. */
  cgroup: string;
}

/** Throws ContainerError or SyscallError; then neither process nor cgroup is left. */
export async function launch(plan: Plan, options: LaunchOptions): Promise<RunningContainer> {
  const namespaces = openNamespaces(plan.namespaces.join, plan.idMaps);
  try {
    const cgroup = createCgroup(plan.cgroup);
    try {
      return { ...(await start(plan, options, cgroup, namespaces)), cgroup };
    } catch (error) {
      killCgroup(cgroup); // where the pid namespace is shared, a hook's daemon may have outlived the process
      removeCgroup(cgroup);
      throw error;
    }
  } finally {
    for (const fd of namespaces) closeSync(fd);
  }
}

async function start(
  plan: Plan,
  options: LaunchOptions,
  cgroup: string,
  namespaces: readonly HostFd[],
): Promise<AttendedProcess> {
  const cgroupFd = openCgroup(cgroup);
  const { stdio, created, sibling = false } = options;
  const page = created && { page: created.page };
  const { user, clone, join } = plan.namespaces;
  const spawn = () => spawnStage({ namespaces: user ? k.CLONE_NEWNS : clone, cgroupFd, stdio, sibling, ...page });
  let spawned: SpawnedStage;
  try {
    if (plan.cgroup.devices) attachDeviceRules(cgroupFd, plan.cgroup.devices.program);
    spawned = user ? spawn() : withPidNamespace(join, namespaces, spawn);
  } catch (error) {
    throw (await options.explain?.(error, 0)) ?? error;
  } finally {
    closeSync(cgroupFd);
  }
  const init = plan.process.init ? sealedProgram('init', readFileSync(`${nativeFolder}/init`)) : undefined;
  try {
    return await attend(spawned, options, (stage, ready, forked) => {
      const descriptors: InitDescriptors = {
        namespaces,
        pipes: plan.terminal ? [] : pipesOf(stdio, user),
        forked,
        preserved: options.preserved ?? [],
        init,
        gate: created?.gate,
        outbox: created?.outbox ?? [],
      };
      const { interlude } = options;
      const last: Ready = (master) => {
        ready(master);
        if (interlude) stage.flush();
        interlude?.('ready');
      };
      initContainer(stage, plan, descriptors, last, interlude && (() => interlude('mounted')));
    });
  } finally {
    if (init !== undefined) closeSync(init);
  }
}
