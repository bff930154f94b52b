/** What a host can do, found out by doing it: a namespace, an overlay, an idmapped mount, each gone at once. Host side. */
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmdirSync, rmSync } from 'node:fs';
import { openCgroup } from '../../core/host/cgroup.ts';
import { destroy } from '../../core/host/child.ts';
import { attachDeviceRules } from '../../core/host/device-filter.ts';
import { openNamespaces } from '../../core/host/namespaces.ts';
import { spawnStage } from '../../core/host/spawn.ts';
import { rawSyscall, syscall } from '../../core/host/syscall.ts';
import * as k from '../../core/kernel/constants.ts';
import { errnoName } from '../../core/kernel/errno.ts';
import { SyscallError } from '../../core/kernel/error.ts';
import { planCgroup } from '../../core/plan/cgroup.ts';
import { namespaceFlags } from '../../core/plan/container.ts';
import { type HostFd, Stage, type StageFd } from '../../core/stage/stage.ts';
import { canBeIdmapped } from '../../engine/mapped-layers.ts';
import type { Tried } from './facts.ts';

/** OCI's name and the flag of clone3(2). */
export const namespaceTypes: Readonly<Record<string, number>> = namespaceFlags;

/** 'works', or the errno's name of what failed. */
function tried(act: () => void): Tried {
  try {
    act();
    return 'works';
  } catch (error) {
    for (let cause = error; cause instanceof Error; cause = cause.cause) {
      if (cause instanceof SyscallError) return cause.code;
      const { code } = cause as { code?: unknown };
      if (typeof code === 'string') return code;
    }
    return error instanceof Error ? error.message : String(error);
  }
}

/** A process that is born in a new namespace and ended. clone3(2) takes no CLONE_NEWTIME for what executes later: its file says whether there are any. */
export function namespace(type: string): Tried {
  if (type === 'time') return existsSync('/proc/self/ns/time') ? 'works' : 'ENOENT';
  return tried(() => inStage(namespaceTypes[type]!, undefined, () => undefined));
}

function inStage(namespaces: number, stdin: HostFd | undefined, act: (stage: Stage) => void): void {
  const nothing = openSync('/dev/null', 'r+') as HostFd;
  try {
    const { pidfd, wire } = spawnStage({ namespaces, stdio: [stdin ?? nothing, nothing, nothing] });
    try {
      wire.handshake();
      act(new Stage(wire));
    } finally {
      wire.close();
      destroy(pidfd);
    }
  } finally {
    closeSync(nothing);
  }
}

/** A superblock that is mounted nowhere; `folder` is on the file system that is to be its upper one. */
export function overlay(folder: string): Tried {
  let made: string | undefined;
  const result = tried(() => {
    made = mkdtempSync(`${folder}/.tinyctr-doctor-`);
    for (const name of ['lower', 'upper', 'work']) mkdirSync(`${made}/${name}`);
    const fd = syscall('fsopen', ['overlay', k.FSOPEN_CLOEXEC]);
    try {
      for (const [key, name] of [
        ['lowerdir', 'lower'],
        ['upperdir', 'upper'],
        ['workdir', 'work'],
      ] as const)
        syscall('fsconfig', [fd, k.FSCONFIG_SET_STRING, key, `${made}/${name}`, 0]);
      syscall('fsconfig', [fd, k.FSCONFIG_CMD_CREATE, null, null, 0]);
    } finally {
      closeSync(fd);
    }
  });
  if (made) rmSync(made, { recursive: true, force: true });
  return result;
}

/** Its standard input: the user namespace. */
const IN_STAGE = 0 as unknown as StageFd;
const someIds = [{ containerID: 0, hostID: 0x70000000, size: 65536 }];

/** Of folders that everybody may read, by a process whose root is nobody outside. */
export function overlayInUserNamespace(): Tried {
  return tried(() => {
    const [user] = openNamespaces([], [{ uid: someIds, gid: someIds }]);
    try {
      inStage(0, user, (stage) => {
        stage.step({ id: 'try', why: 'an overlay in a user namespace', see: ['user_namespaces(7)'] });
        stage.setns(IN_STAGE, k.CLONE_NEWUSER);
        stage.unshare(k.CLONE_NEWNS);
        const fd = stage.fsopen('overlay');
        stage.fsconfig_set_string(fd, 'lowerdir', '/usr:/etc');
        stage.fsconfig_create(fd);
        stage.close(fd);
      });
    } finally {
      closeSync(user!);
    }
  });
}

export function idmappedMount(folder: string): Tried {
  let can = false;
  const result = tried(() => {
    can = canBeIdmapped(folder, { uid: someIds, gid: someIds });
  });
  return result === 'works' && !can ? 'EINVAL' : result;
}

const SECCOMP_GET_ACTION_AVAIL = 2;
const SECCOMP_RET_ERRNO = 0x00050000;

export function seccomp(): Tried {
  const action = new Uint8Array(Uint32Array.of(SECCOMP_RET_ERRNO).buffer);
  const result = rawSyscall('seccomp', SECCOMP_GET_ACTION_AVAIL, 0, action);
  return result < 0 ? errnoName(-result) : 'works';
}

/** An empty cgroup below `root`, with a device program. */
export function cgroup(root: string): { made: Tried; kill: Tried; devices: Tried } {
  const folder = `${root}/tinyctr-doctor-${process.pid}`;
  const made = tried(() => mkdirSync(folder));
  if (made !== 'works')
    return { made, kill: 'not tried: there is no cgroup', devices: 'not tried: there is no cgroup' };
  const kill = existsSync(`${folder}/cgroup.kill`) ? 'works' : 'ENOENT';
  const devices = tried(() => {
    const fd = openCgroup(folder);
    try {
      attachDeviceRules(fd, planCgroup('/any', { devices: [{ allow: false, access: 'rwm' }] }).devices!.program);
    } finally {
      closeSync(fd);
    }
  });
  return { made: tried(() => rmdirSync(folder)), kill, devices };
}
