/** The volumes of a container that starts: each opened below the store and given to it as a mount, never by a path. Host side. */
import { closeSync, fstatSync, futimesSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { syscall } from '../core/host/syscall.ts';
import { IN_ROOT } from '../core/init/resolve.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { MountPlan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { takeAfterFolder } from '../image/copy-tree.ts';
import { tryLock } from '../image/lock.ts';
import { openat, openat2, renameat } from '../image/unpack/at.ts';
import { readDirectory, removeTree } from '../image/unpack/remove-tree.ts';
import type { VolumeMount } from './volume-mount.ts';
import { openData, openVolume } from './volumes.ts';

const PAUSE_MS = 20;
/** A copy on its way. */
export const FILLING = '.filling';
/** A copy that is whole, whose entries are on their way to the volume; the tree is in it. */
export const FILLED = '.filled';
export const TREE = 'tree';

/** The plan's mounts with those of volumes as descriptors, which are to be closed once the container has them. @throws ContainerError */
export async function openVolumes(
  root: string,
  volumes: readonly VolumeMount[],
  mounts: readonly MountPlan[],
): Promise<{ mounts: MountPlan[]; opened: HostFd[] }> {
  const opened = new Map<string, HostFd>();
  try {
    for (const volume of volumes) opened.set(volume.destination, await openTree(root, volume));
  } catch (error) {
    for (const fd of opened.values()) closeSync(fd);
    throw error;
  }
  const planned = mounts.map((mount) => {
    const detached = mount.kind === 'bind' ? opened.get(mount.target) : undefined;
    return detached === undefined ? mount : { ...mount, detached };
  });
  return { mounts: planned, opened: [...opened.values()] };
}

async function openTree(root: string, { volume, subpath }: VolumeMount): Promise<HostFd> {
  const folder = openVolume(root, volume);
  try {
    if (exists(folder, FILLED)) {
      await lockVolume(folder);
      settle(folder, volume);
    }
    const data = openData(folder, volume);
    const below = subpath === undefined ? data : openBelow(data, volume, subpath);
    try {
      const flags = k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | k.AT_EMPTY_PATH | k.AT_RECURSIVE;
      return syscall('open_tree', [below, '', flags]) as HostFd;
    } finally {
      for (const fd of new Set([data, below])) closeSync(fd);
    }
  } finally {
    closeSync(folder);
  }
}

/** What containers wrote may have links: they lead nowhere out of the volume. */
function openBelow(data: number, volume: string, subpath: string): number {
  const path = Buffer.from(subpath).toString('latin1');
  const fd = openat2(data, path, k.O_PATH, IN_ROOT, 'ENOENT', 'ENOTDIR', 'ELOOP');
  if (fd >= 0) return fd;
  closeSync(data);
  throw new ContainerError(
    `the volume ${volume} has no ${subpath}: volume-subpath must be there before a container starts`,
  );
}

function exists(folder: number, name: string): boolean {
  const fd = openat(folder, name, k.O_PATH, 0, 'ENOENT');
  if (fd >= 0) closeSync(fd);
  return fd >= 0;
}

/** Until the descriptor of the volume's folder is closed, nobody else fills it. */
export async function lockVolume(folder: number): Promise<void> {
  while (!tryLock(folder)) await setTimeout(PAUSE_MS);
}

/**
 * Puts a whole copy in its place, if there is one, with the volume's lock. Done again from the middle it comes to the same; what a
 * container wrote meanwhile under a name of the image's stays.
 */
export function settle(folder: number, name: string): void {
  if (!exists(folder, FILLED)) return;
  within(folder, FILLED, (filled) => {
    if (!exists(filled, TREE)) return;
    const data = openData(folder, name);
    try {
      within(filled, TREE, (tree) => {
        for (const entry of readDirectory(tree)) renameat(tree, entry.name, data, entry.name, 'EEXIST');
        takeAfterFolder(tree, data, {});
      });
      const { atime, mtime } = fstatSync(filled);
      futimesSync(data, atime, mtime);
    } finally {
      closeSync(data);
    }
  });
  removeTree(folder, FILLED);
}

export function within(folder: number, name: string, act: (fd: number) => void): void {
  const fd = openat(folder, name, k.O_RDONLY | k.O_DIRECTORY);
  try {
    act(fd);
  } finally {
    closeSync(fd);
  }
}
