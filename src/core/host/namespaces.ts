/** Namespaces of others, by path: opened, and proven to be of the type that was asked for (E6). Host side. */
import { closeSync, openSync, statSync, writeFileSync } from 'node:fs';
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import { namespaceFlags } from '../plan/container.ts';
import type { IdMaps, NamespacePlan } from '../plan/plan.ts';
import type { HostFd } from '../stage/stage.ts';
import { destroy } from './child.ts';
import { spawnStage } from './spawn.ts';
import { rawSyscall, syscall } from './syscall.ts';

/** A user namespace of a process that does nothing else: it lives on by its descriptor, owned by the caller. Source: user_namespaces(7). */
function makeUserNamespace(maps: IdMaps): HostFd {
  const stdin = 0 as HostFd;
  const { hostPid, pidfd, wire } = spawnStage({ namespaces: k.CLONE_NEWUSER, stdio: [stdin, stdin, stdin] });
  try {
    for (const kind of ['uid', 'gid'] as const) {
      const lines = maps[kind].map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`);
      writeFileSync(`/proc/${hostPid}/${kind}_map`, lines.join(''));
    }
    return openSync(`/proc/${hostPid}/ns/user`, 'r') as HostFd;
  } catch (error) {
    throw new ContainerError(`the kernel refuses the id maps ${JSON.stringify(maps)}`, { cause: error });
  } finally {
    wire.close();
    destroy(pidfd);
  }
}

/** Descriptors in the plan's order, then those of new user namespaces; owned by the caller. Throws before anything was changed. */
export function openNamespaces(join: NamespacePlan['join'], idMaps: readonly IdMaps[]): HostFd[] {
  const fds: HostFd[] = [];
  try {
    for (const { type, flag, path, specPointer } of join) {
      const fd = openNamespace(path, type, specPointer);
      fds.push(fd);
      const found = rawSyscall('ioctl', fd, k.NS_GET_NSTYPE); // ioctl_ns(2); ENOTTY: no namespace at all
      if (found !== flag) {
        const what = Object.entries(namespaceFlags).find((entry) => entry[1] === found)?.[0];
        throw new ContainerError(
          `${path} is ${what ? `a ${what} namespace` : 'not a namespace'}, the configuration says ${type}`,
          { specPointer },
        );
      }
    }
    for (const maps of idMaps) fds.push(makeUserNamespace(maps));
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

/** CLONE_NEW* of the namespaces that a process does not share with this one; setns(2) refuses the own user namespace. */
export function otherNamespaces(hostPid: number): number {
  const inode = (pid: number | 'self', name: string) =>
    statSync(`/proc/${pid}/ns/${name}`, { throwIfNoEntry: false })?.ino;
  const others = Object.entries(namespaceFlags).filter(([type]) => {
    const name = { mount: 'mnt', network: 'net' }[type] ?? type;
    return inode(hostPid, name) !== inode('self', name);
  });
  return others.reduce((all, [, flag]) => all | flag, 0);
}
