/** Namespaces of others, by path: opened, and proven to be of the type that was asked for (E6). Host side. */
import { closeSync, openSync, statSync } from 'node:fs';
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { NamespacePlan } from '../plan/plan.ts';
import type { HostFd } from '../stage/stage.ts';
import { rawSyscall, syscall } from './syscall.ts';

const typeNames = new Map([
  [k.CLONE_NEWNS, 'mount'],
  [k.CLONE_NEWPID, 'pid'],
  [k.CLONE_NEWUTS, 'uts'],
  [k.CLONE_NEWIPC, 'ipc'],
  [k.CLONE_NEWNET, 'network'],
  [k.CLONE_NEWCGROUP, 'cgroup'],
  [k.CLONE_NEWUSER, 'user'],
  [k.CLONE_NEWTIME, 'time'],
]);

/** Descriptors in the plan's order, owned by the caller. Throws before anything was changed. */
export function openNamespaces(join: NamespacePlan['join']): HostFd[] {
  const fds: HostFd[] = [];
  try {
    for (const { type, flag, path, specPointer } of join) {
      const fd = openNamespace(path, type, specPointer);
      fds.push(fd);
      const found = rawSyscall('ioctl', fd, k.NS_GET_NSTYPE); // ioctl_ns(2); ENOTTY: no namespace at all
      if (found !== flag) {
        const what = typeNames.get(found);
        throw new ContainerError(
          `${path} is ${what ? `a ${what} namespace` : 'not a namespace'}, the configuration says ${type}`,
          { specPointer },
        );
      }
    }
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw error;
  }
  return fds;
}

function openNamespace(path: string, type: string, specPointer: string): HostFd {
  try {
    return openSync(path, 'r') as HostFd;
  } catch (error) {
    throw new ContainerError(`the ${type} namespace ${path} can't be opened (${(error as { code?: string }).code})`, {
      specPointer,
      cause: error,
    });
  }
}

/** Does `spawn` so that its child is born in the joined pid namespace, if there is one. */
export function withPidNamespace<T>(join: NamespacePlan['join'], fds: readonly HostFd[], spawn: () => T): T {
  const index = join.findIndex(({ flag }) => flag === k.CLONE_NEWPID);
  return index < 0 ? spawn() : inPidNamespace(fds[index]!, spawn);
}

/**
 * Does `spawn` so that its child is born in a pid namespace: setns(CLONE_NEWPID) moves only children, and this thread
 * takes its own back afterwards. `fd` is of the namespace, or a pidfd of a process in it. Source: pid_namespaces(7).
 */
export function inPidNamespace<T>(fd: HostFd, spawn: () => T): T {
  const own = openSync('/proc/self/ns/pid', 'r');
  try {
    syscall('setns', [fd, k.CLONE_NEWPID]);
    return spawn();
  } finally {
    syscall('setns', [own, k.CLONE_NEWPID]);
    closeSync(own);
  }
}

const files: [flag: number, name: string][] = [
  [k.CLONE_NEWUSER, 'user'],
  [k.CLONE_NEWNS, 'mnt'],
  [k.CLONE_NEWPID, 'pid'],
  [k.CLONE_NEWUTS, 'uts'],
  [k.CLONE_NEWIPC, 'ipc'],
  [k.CLONE_NEWNET, 'net'],
  [k.CLONE_NEWCGROUP, 'cgroup'],
  [k.CLONE_NEWTIME, 'time'],
];

/** CLONE_NEW* of the namespaces that a process does not share with this one; setns(2) refuses the own user namespace. */
export function otherNamespaces(hostPid: number): number {
  const inode = (pid: number | 'self', name: string) =>
    statSync(`/proc/${pid}/ns/${name}`, { throwIfNoEntry: false })?.ino;
  return files.reduce((all, [flag, name]) => (inode(hostPid, name) === inode('self', name) ? all : all | flag), 0);
}
