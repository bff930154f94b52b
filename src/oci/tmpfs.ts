/**
 * A new tmpfs as the image has the folder in its place: its mode, and with tmpcopyup all that is in it. Such a tmpfs is made and
 * filled here, mounted nowhere, and goes to the container as a descriptor: when this process dies on the way, it is gone. Host side.
 */
import { closeSync, existsSync, fstatSync, openSync } from 'node:fs';
import { IN_ROOT } from '../core/init/resolve.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { BindPlan, FilesystemPlan, MountPlan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { copyTree } from '../image/copy-tree.ts';
import { openat2 } from '../image/unpack/at.ts';
import { asBind, isLong, makeFilesystem, mountLong } from './detached.ts';

/** A tmpfs that takes its contents, or at least its mode, from the folder it hides. */
function takesAfterFolder(mount: FilesystemPlan): boolean {
  return mount.fstype === 'tmpfs' && (has(mount, 'tmpcopyup') || !has(mount, 'mode'));
}

const has = ({ parameters }: FilesystemPlan, name: string) => parameters.some(([key]) => key === name);

/** What is made, or looked at, here before the container's process is born. */
export function isMadeHere(mount: MountPlan): mount is FilesystemPlan {
  return mount.kind === 'filesystem' && (takesAfterFolder(mount) || isLong(mount));
}

/**
 * The mounts to plan in their place, and the descriptors to close once the container has them. Without `make` nothing is made:
 * what would come as a descriptor stays a new filesystem.
 */
export function asInImage(
  mounts: readonly MountPlan[],
  rootfs: string,
  make = true,
): { mounts: MountPlan[]; filled: HostFd[] } {
  const filled: HostFd[] = [];
  try {
    const planned = mounts.map((mount, i) => {
      if (!isMadeHere(mount)) return mount;
      if (isLong(mount)) return make ? mountLong(mount, filled) : mount;
      const parameters = mount.parameters.filter(([key]) => key !== 'tmpcopyup');
      const source = openSource(mount.target, mounts.slice(0, i), rootfs);
      if (source === undefined) return { ...mount, parameters };
      try {
        if (!has(mount, 'mode')) parameters.push(['mode', (fstatSync(source).mode & 0o7777).toString(8)]);
        return make && has(mount, 'tmpcopyup')
          ? fill({ ...mount, parameters }, source, filled)
          : { ...mount, parameters };
      } finally {
        closeSync(source);
      }
    });
    return { mounts: planned, filled };
  } catch (error) {
    for (const fd of filled) closeSync(fd);
    throw error;
  }
}

/** The folder that the tmpfs will hide: of the image, or of what is bound above it. Undefined if there is none. */
function openSource(target: string, earlier: readonly MountPlan[], rootfs: string): HostFd | undefined {
  const above = earlier
    .filter((mount) => mount.kind !== 'remount')
    .findLast((mount) => target === mount.target || target.startsWith(`${mount.target}/`));
  if (above?.kind === 'filesystem') return undefined; // new, and so empty
  const from = above?.source ?? rootfs;
  if (!existsSync(from)) return undefined; // who binds it will say so
  const root = openSync(from, k.O_PATH);
  try {
    const path = Buffer.from(target.slice(above?.target.length ?? 0) || '/').toString('latin1');
    const fd = openat2(root, path, k.O_RDONLY | k.O_DIRECTORY, IN_ROOT, 'ENOENT', 'ENOTDIR', 'ELOOP');
    return fd < 0 ? undefined : (fd as HostFd);
  } finally {
    closeSync(root);
  }
}

function fill(mount: FilesystemPlan, source: HostFd, filled: HostFd[]): BindPlan {
  const tree = makeFilesystem(mount);
  filled.push(tree);
  try {
    copyTree(source, tree, { withMode: false }); // it has been made with the mode it is to have
  } catch (error) {
    const { code = String(error) } = error as { code?: string };
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new ContainerError(
      `can't copy what is in ${mount.target}: ${full ? 'it is more than the tmpfs may hold' : code}`,
      { specPointer: mount.specPointer, cause: error },
    );
  }
  return asBind(mount, tree);
}
