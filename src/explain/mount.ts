/**
 * Why a mount call failed: which condition of pivot_root(2) does not hold (E10), and what keeps a new procfs from being
 * mounted (E11). Host side; the stage still stands, its mounts are read from /proc/PID/mountinfo.
 */
import { closeSync, openSync } from 'node:fs';
import { type MountInfo, readMountinfo } from '../core/host/mountinfo.ts';
import { syscall } from '../core/host/syscall.ts';
import { AT_EMPTY_PATH, O_PATH } from '../core/kernel/constants.ts';
import { ContainerError, type SyscallError } from '../core/kernel/error.ts';
import { STATX_SIZE } from '../core/kernel/structs.ts';
import type { Plan } from '../core/plan/plan.ts';

/** Where in the tree of mounts a file lies. */
export interface MountPlace {
  /** The first field of mountinfo. */
  mountId: number;
  /** It is the root of that mount: a mount point. */
  mountRoot: boolean;
}

type MountFault = readonly [fault: string, hint: string];

const STATX_MNT_ID = 0x1000;
const STATX_ATTR_MOUNT_ROOT = 0x2000n;

/** stx_attributes at 8 and stx_mnt_id at 144 of an open file. Source: statx(2). */
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
  return fault && new ContainerError(`the root can't be changed: ${fault[0]}`, { hint: fault[1], cause: error });
}

/** The first condition of pivot_root(2) that does not hold, and what to do about it. Pure. */
export function pivotRootFault(
  code: string,
  mounts: readonly MountInfo[],
  newRoot: MountPlace,
  root: MountPlace,
): MountFault | undefined {
  const bind = 'bind the folder onto itself first';
  if (code === 'EBUSY' && newRoot.mountId === root.mountId)
    return ['the new root lies on the same mount as the present one', bind];
  if (code !== 'EINVAL') return undefined;
  const find = (wanted: number | undefined) => mounts.find(({ id }) => id === wanted);
  const mount = find(newRoot.mountId);
  const shared = [mount, find(mount?.parent)].find((m) => m?.optionalFields.some((f) => f.startsWith('shared:')));
  if (shared) return [`the mount ${shared.mountPoint} is shared`, `mount --make-private ${shared.mountPoint}`];
  if (!root.mountRoot) return ['the present root is no mount point: this is a chroot', 'start tinyctr outside of it'];
  if (find(root.mountId)?.fstype === 'rootfs')
    return ['the host runs from its initramfs (rootfs)', 'boot on into a real root file system with switch_root(8)'];
  return newRoot.mountRoot ? undefined : ['the new root is not a mount point', bind];
}

/** For EPERM of fsmount(2). Undefined unless it was a procfs that was to be mounted. */
export function explainProc(
  error: SyscallError,
  plan: Partial<Pick<Plan, 'mounts'>>,
  pid: number,
): ContainerError | undefined {
  const { step } = error.facts;
  const mount = plan.mounts?.find(({ target }) => step === `mount ${target}`);
  const proc = mount?.kind === 'filesystem' ? mount.fstype === 'proc' : step === 'proc';
  const fault = proc ? procFault(readMountinfo(pid)) : undefined;
  const more = { specPointer: mount?.specPointer, cause: error };
  return fault && new ContainerError(`a procfs can't be mounted: ${fault[0]}`, { hint: fault[1], ...more });
}

/** Empty for good in every procfs: what is mounted there hides nothing. */
const emptyFolders = /\/(sys\/fs\/binfmt_misc|fs\/nfsd)$/;

/** In a user namespace a new procfs may show no more than one that is there already. Pure. Source: mount_namespaces(7). */
export function procFault(mounts: readonly MountInfo[]): MountFault | undefined {
  const there = mounts.filter(({ fstype, root }) => fstype === 'proc' && root === '/');
  if (there.length === 0) return ['outside there is none, and nothing more may be shown', 'mount one outside first'];
  const over = mounts.filter((m) => there.some(({ id }) => id === m.parent) && !emptyFolders.test(m.mountPoint));
  const hidden = [...new Set(over.map(({ mountPoint }) => mountPoint))].join(', ');
  const unmask = 'give the outer container --security-opt systempaths=unconfined (podman: unmask=ALL)';
  if (hidden) return [`it would show what mounts outside hide: ${hidden}`, unmask];
  const readonly = there.find(({ options }) => options.includes('ro'));
  return readonly && [`${readonly.mountPoint} outside is read-only`, unmask];
}

/** The one mount that was to be changed. Source: mount_setattr(2), "ERRORS". */
export function explainRemount(
  error: SyscallError,
  { mounts }: Partial<Pick<Plan, 'mounts'>>,
): ContainerError | undefined {
  const mount = mounts?.find(({ kind, target }) => kind === 'remount' && error.facts.step === `mount ${target}`);
  if (!mount) return undefined;
  const reasons: Record<string, string> = {
    ENOENT: 'there is nothing in the container',
    EINVAL: 'nothing is mounted there',
    EPERM: 'a flag that the mount had before it came into the user namespace stays',
  };
  return new ContainerError(`can't remount ${mount.target}: ${reasons[error.code] ?? error.code}`, {
    specPointer: mount.specPointer,
    cause: error,
  });
}
