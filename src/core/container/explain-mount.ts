/**
 * Why a mount call failed: which condition of pivot_root(2) does not hold (E10), and what keeps a new procfs from being
 * mounted (E11). Host side; the stage still stands, its mounts are read from /proc/PID/mountinfo.
 */
import { closeSync, openSync } from 'node:fs';
import { type MountInfo, readMountinfo } from '../host/mountinfo.ts';
import { syscall } from '../host/syscall.ts';
import { AT_EMPTY_PATH, O_PATH } from '../kernel/constants.ts';
import { ContainerError, type SyscallError } from '../kernel/error.ts';
import { STATX_SIZE } from '../kernel/structs.ts';
import type { Plan } from '../plan/plan.ts';

/** Where in the tree of mounts a file lies. */
export interface MountPlace {
  /** The first field of mountinfo. */
  mountId: number;
  /** It is the root of that mount: a mount point. */
  mountRoot: boolean;
}

const STATX_MNT_ID = 0x1000;
const STATX_ATTR_MOUNT_ROOT = 0x2000n;

/** stx_attributes at 8 and stx_mnt_id at 144 of an open file (Linux 5.8). Source: statx(2). */
export function mountPlace(fd: number): MountPlace {
  const status = Buffer.alloc(STATX_SIZE);
  syscall('statx', [fd, '', AT_EMPTY_PATH, STATX_MNT_ID, status]);
  const mountRoot = (status.readBigUInt64LE(8) & STATX_ATTR_MOUNT_ROOT) !== 0n;
  return { mountId: Number(status.readBigUInt64LE(144)), mountRoot };
}

function placeOf(path: string): MountPlace {
  const fd = openSync(path, O_PATH);
  try {
    return mountPlace(fd);
  } finally {
    closeSync(fd);
  }
}

export function explainPivotRoot(error: SyscallError, pid: number): ContainerError | undefined {
  const newRoot = placeOf(`/proc/${pid}/cwd`); // pivot_root(".", "."): the working directory is both of its arguments
  const fault = pivotRootFault(error.code, readMountinfo(pid), newRoot, placeOf(`/proc/${pid}/root`));
  return (
    fault && new ContainerError(`the container's root can't be changed: ${fault[0]}`, { hint: fault[1], cause: error })
  );
}

/** The first condition of pivot_root(2) that does not hold, and what to do about it. Pure. */
export function pivotRootFault(
  code: string,
  mounts: readonly MountInfo[],
  newRoot: MountPlace,
  root: MountPlace,
): readonly [fault: string, hint?: string] | undefined {
  if (code === 'EBUSY' && newRoot.mountId === root.mountId)
    return ['the new root lies on the same mount as the present one', 'bind the folder onto itself first'];
  if (code !== 'EINVAL') return undefined;
  const mount = mounts.find(({ id }) => id === newRoot.mountId);
  const present = mounts.find(({ id }) => id === root.mountId);
  const shared = [mount, mounts.find(({ id }) => id === mount?.parent)].find(isShared);
  if (shared)
    return [
      `the mount ${shared.mountPoint} is shared with other mount namespaces`,
      `mount --make-private ${shared.mountPoint}`,
    ];
  if (!root.mountRoot)
    return [
      'the present root is not a mount point: tinyctr runs in a chroot',
      'start it outside, or bind the chroot onto itself first',
    ];
  if (present?.fstype === 'rootfs' || present?.id === present?.parent)
    return [
      'the host runs from its initramfs (rootfs), which can never be put aside',
      'boot into a real root with switch_root(8)',
    ];
  if (!newRoot.mountRoot) return ['the new root is not a mount point', 'bind the folder onto itself first'];
  return undefined;
}

function isShared(mount: MountInfo | undefined): boolean {
  return mount?.optionalFields.some((field) => field.startsWith('shared:')) ?? false;
}

/** For EPERM of fsmount(2). Undefined unless it was a procfs that was to be mounted. */
export function explainProc(error: SyscallError, plan: Plan, pid: number): ContainerError | undefined {
  const { step } = error.facts;
  const mount = plan.mounts.find(({ target }) => step === `mount ${target}`);
  const proc = mount?.kind === 'filesystem' ? mount.fstype === 'proc' : step === 'sysctls' || step === 'oom-score';
  const fault = proc ? procFault(readMountinfo(pid)) : undefined;
  return fault && new ContainerError(`a procfs can't be mounted: ${fault[0]}`, { hint: fault[1], cause: error });
}

/** Empty for good in every procfs: what is mounted there hides nothing. */
const emptyFolders = /\/(sys\/fs\/binfmt_misc|fs\/nfsd)$/;

/**
 * Outside the first user namespace a new procfs may show no more than one that is there already. Pure.
 * Source: user_namespaces(7), "no part of it is hidden" of mount_namespaces(7).
 */
export function procFault(mounts: readonly MountInfo[]): readonly [fault: string, hint: string] | undefined {
  const present = mounts.filter(({ fstype, root }) => fstype === 'proc' && root === '/');
  const hidden = mounts
    .filter(({ parent, mountPoint }) => present.some(({ id }) => id === parent) && !emptyFolders.test(mountPoint))
    .map(({ mountPoint }) => mountPoint);
  if (present.length === 0)
    return ['none is mounted outside, and only what is there may be shown', 'mount one outside first'];
  if (hidden.length > 0)
    return [
      `it would show what is hidden outside below ${[...new Set(hidden)].join(', ')}`,
      'run the outer container with an unmasked /proc: --security-opt systempaths=unconfined (podman: unmask=ALL)',
    ];
  const readonly = present.find(({ options }) => options.includes('ro'));
  return readonly && [`outside, ${readonly.mountPoint} is read-only`, `mount -o remount,rw ${readonly.mountPoint}`];
}
