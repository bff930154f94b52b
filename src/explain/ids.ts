/** Why a user or time namespace was refused, or an idmapped mount. Host side. */
import { readMountinfo } from '../core/host/mountinfo.ts';
import { ContainerError, type SyscallError } from '../core/kernel/error.ts';
import type { Plan } from '../core/plan/plan.ts';

type Planned = Partial<Pick<Plan, 'namespaces' | 'mounts' | 'root'>>;

/** Source: each filesystem's FS_ALLOW_IDMAP in the history of Linux. */
const idmappedSince: Record<string, string> = {
  ...{ ext4: '5.12', vfat: '5.12', xfs: '5.12', btrfs: '5.15', ntfs3: '5.15', f2fs: '5.18', erofs: '5.19' },
  ...{ squashfs: '6.2', tmpfs: '6.3', ceph: '6.7', fuse: '6.12' },
};

/** setns(CLONE_NEWUSER) into the one that the process is in already. Source: setns(2), EINVAL. */
export function explainJoin(error: SyscallError, plan: Planned): ContainerError | undefined {
  if (error.facts.step !== 'user-namespace' || error.code !== 'EINVAL') return undefined;
  const joined = plan.namespaces?.join.find(({ type }) => type === 'user');
  return new ContainerError('the user namespace to join is the one that this runtime is in already', {
    specPointer: joined?.specPointer,
    cause: error,
  });
}

/** Source: time_namespaces(7). */
export function explainOffsets(error: SyscallError, plan: Planned): ContainerError | undefined {
  const offsets = plan.namespaces?.timeOffsets?.trim().replaceAll('\n', ', ');
  if (error.facts.step !== 'namespaces.time' || !offsets) return undefined;
  const hint = error.code === 'ERANGE' ? 'the clock would stand before 0, or beyond 146 years' : undefined;
  return new ContainerError(`the kernel refuses the time offsets (${error.code}): ${offsets}`, {
    specPointer: '/linux/timeOffsets',
    hint,
    cause: error,
  });
}

/** mount_setattr(MOUNT_ATTR_IDMAP) fails with EINVAL where the filesystem can't, or when the mount is idmapped already. */
export function explainIdmap(error: SyscallError, plan: Planned): ContainerError | undefined {
  if (error.code !== 'EINVAL') return undefined;
  const bind = plan.mounts?.find((mount) => `bind ${mount.target}` === error.facts.step);
  const root = error.facts.step === 'rootfs.overlay' && plan.root?.source.kind === 'overlay' && plan.root.source;
  const source = root ? root.layersFolder : bind?.kind === 'bind' && bind.idMap !== undefined && bind.source;
  if (!source) return undefined;
  const above = readMountinfo('self').filter(({ mountPoint }) => isBelow(source, mountPoint));
  const { fstype } = above.reduce((best, one) => (one.mountPoint.length >= best.mountPoint.length ? one : best));
  const since = idmappedSince[fstype];
  return new ContainerError(`${source} lies on ${fstype}, which can't be idmapped${since ? ' on this kernel' : ''}`, {
    specPointer: bind?.specPointer,
    hint: since ? `${fstype} can since Linux ${since}, but not a mount that is idmapped already` : undefined,
    cause: error,
  });
}

const isBelow = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
