/**
 * Copy-up: what the image has in the place of a volume becomes the volume's first contents, as long as that is empty. Once,
 * whoever else comes at the same time, and never half: the copy is made beside, and one rename says that it is whole. Host side.
 */
import { closeSync, fstatSync, futimesSync } from 'node:fs';
import { syscall } from '../core/host/syscall.ts';
import { IN_ROOT } from '../core/init/resolve.ts';
import * as k from '../core/kernel/constants.ts';
import { E } from '../core/kernel/errno.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import { copyTree } from '../image/copy-tree.ts';
import { openImageRoot } from '../image/image-root.ts';
import { mkdirat, openat2 } from '../image/unpack/at.ts';
import { readDirectory, removeTree } from '../image/unpack/remove-tree.ts';
import type { LayersOf } from './plan.ts';
import type { VolumeMount } from './volume-mount.ts';
import { FILLED, FILLING, lockVolume, settle, TREE, within } from './volume-mounts.ts';
import { openData, openVolume } from './volumes.ts';

/** For a container that has just been made, whose record keeps its volumes from being removed. @throws ContainerError */
export async function fillVolumes(
  { root, image, layersFolder }: LayersOf,
  { id, idMaps }: { id: string; idMaps?: IdMaps | undefined },
  volumes: readonly VolumeMount[],
): Promise<void> {
  const container = `${root}/containers/${id}`;
  let imageRoot: number | undefined;
  const source = () => {
    imageRoot ??= openImageRoot({
      ...{ layersFolder, lower: image.layers },
      ...{ empty: `${container}/upper`, target: `${container}/rootfs` },
    });
    return imageRoot;
  };
  try {
    for (const mount of volumes) {
      if (!mount.copy || mount.subpath !== undefined) continue;
      const folder = openVolume(root, mount.volume);
      try {
        await lockVolume(folder);
        fill(folder, mount, source, mount.idmap ? undefined : idMaps);
      } finally {
        closeSync(folder);
      }
    }
  } finally {
    if (imageRoot !== undefined) closeSync(imageRoot);
  }
}

/** With the volume's lock. */
function fill(folder: number, mount: VolumeMount, imageRoot: () => number, idMaps: IdMaps | undefined): void {
  settle(folder, mount.volume);
  removeTree(folder, FILLING); // somebody was killed over it
  const data = openData(folder, mount.volume);
  const isEmpty = readDirectory(data).length === 0;
  const elsewhere = fstatSync(data).dev !== fstatSync(folder).dev;
  closeSync(data);
  const source = isEmpty ? openSource(imageRoot(), mount.destination) : undefined;
  if (source === undefined) return;
  try {
    if (elsewhere) throw new Error('its _data is another file system (use nocopy)');
    copyBeside(folder, source, idMaps);
    syscall('renameat2', [folder, FILLING, folder, FILLED, 0]);
    settle(folder, mount.volume);
  } catch (error) {
    removeTree(folder, FILLING);
    const { code = (error as Error).message } = error as { code?: string };
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new ContainerError(
      `can't copy what the image has in ${mount.destination} to the volume ${mount.volume}: ${full ? 'there is no room for it' : code}`,
      { cause: error },
    );
  } finally {
    closeSync(source);
  }
}

/** The folder of the image, found by the kernel inside of the image's root; undefined where there is none. */
function openSource(imageRoot: number, destination: string): number | undefined {
  const path = Buffer.from(destination).toString('latin1');
  const fd = openat2(imageRoot, path, k.O_RDONLY | k.O_DIRECTORY, IN_ROOT, 'ENOENT', 'ENOTDIR', 'ELOOP');
  if (fd >= 0) return fd;
  if (fd === -E.ENOENT) return undefined;
  throw new ContainerError(
    `a volume can't be mounted on ${destination}: in the image ${fd === -E.ENOTDIR ? 'that is a file' : 'links lead there in circles'}`,
  );
}

/** The times of the source are kept by the folder around the tree: its own change when its entries are moved away. */
function copyBeside(folder: number, source: number, idMaps: IdMaps | undefined): void {
  mkdirat(folder, FILLING, 0o700);
  within(folder, FILLING, (around) => {
    mkdirat(around, TREE, 0o700);
    within(around, TREE, (tree) => copyTree(source, tree, { idMaps }));
    const { atime, mtime } = fstatSync(source);
    futimesSync(around, atime, mtime);
  });
}
