/**
 * `system df`: what takes room below --root, and what would be free again if nothing but what containers use stayed.
 * Host side. Layers count with the bytes of their files, as `images` shows them; blobs and what containers wrote are
 * read from the disk.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { O_DIRECTORY, O_PATH, O_RDONLY } from '../core/kernel/constants.ts';
import { listBlobs, type StoredBlob } from '../image/blob-list.ts';
import { type Image, listImages } from '../image/records.ts';
import { openat } from '../image/unpack/at.ts';
import { readDirectory } from '../image/unpack/remove-tree.ts';
import { listStates } from '../lifecycle/state.ts';
import { type ContainerRecord, listContainers } from './containers.ts';
import { listVolumes, volumeUsers } from './volume-store.ts';

export interface ImageUsage {
  image: Image;
  /** Bytes of layers that other images have as well, and of those that only this one has. */
  shared: number;
  unique: number;
  /** How many containers use it, running or not. */
  containers: number;
}

export interface ContainerUsage {
  container: ContainerRecord;
  running: boolean;
  /** Bytes that it wrote into its root filesystem. */
  size: number;
}

export interface VolumeUsage {
  name: string;
  /** How many containers have it, running or not. */
  links: number;
  /** Bytes of its files. */
  size: number;
}

/** One line of the summary. */
export interface Total {
  count: number;
  active: number;
  size: number;
  reclaimable: number;
}

export interface DiskUsage {
  images: ImageUsage[];
  blobs: StoredBlob[];
  containers: ContainerUsage[];
  volumes: VolumeUsage[];
  totals: { images: Total; blobs: Total; containers: Total; volumes: Total };
}

export function diskUsage(root: string, runRoot: string): DiskUsage {
  const running = new Set(listStates(runRoot));
  const containers = listContainers(root).map((container) => ({
    container,
    running: running.has(container.id),
    size: writtenSize(root, container.id),
  }));
  const images = listImages(root);
  const used = images.filter(({ id }) => containers.some(({ container }) => container.image === id));
  const blobs = listBlobs(root);
  const users = volumeUsers(root);
  const volumes = listVolumes(root).map(({ name, mountpoint }) => ({
    name,
    links: users.get(name)?.length ?? 0,
    size: treeSize(mountpoint),
  }));
  return {
    images: images.map((image) => imageUsage(image, images, containers)),
    blobs,
    containers,
    volumes,
    totals: {
      images: total(images.length, used.length, layersSize(images), layersSize(used)),
      blobs: blobsTotal(blobs, new Set(used.map(({ id }) => id))),
      containers: containersTotal(containers),
      volumes: volumesTotal(volumes),
    },
  };
}

/** Bytes that a container wrote into its root filesystem. */
export const writtenSize = (root: string, id: string): number => treeSize(`${root}/containers/${id}/upper`);

function total(count: number, active: number, size: number, needed: number): Total {
  return { count, active, size, reclaimable: size - needed };
}

function blobsTotal(blobs: readonly StoredBlob[], used: ReadonlySet<string>): Total {
  const active = blobs.filter(({ images }) => images.some((id) => used.has(id)));
  return total(blobs.length, active.length, sum(blobs), sum(active));
}

function containersTotal(containers: readonly ContainerUsage[]): Total {
  const active = containers.filter(({ running }) => running);
  return total(containers.length, active.length, sum(containers), sum(active));
}

function volumesTotal(volumes: readonly VolumeUsage[]): Total {
  const active = volumes.filter(({ links }) => links > 0);
  return total(volumes.length, active.length, sum(volumes), sum(active));
}

function sum(things: readonly { size: number }[]): number {
  return things.reduce((bytes, { size }) => bytes + size, 0);
}

/** The layers of an image by diff id, each once. */
function layersOf({ content }: Image): Map<string, number> {
  return new Map(content.map(({ diffId, size }) => [diffId, size]));
}

function layersSize(images: readonly Image[]): number {
  const layers = new Map(images.flatMap((image) => [...layersOf(image)]));
  return [...layers.values()].reduce((bytes, size) => bytes + size, 0);
}

function imageUsage(image: Image, all: readonly Image[], containers: readonly ContainerUsage[]): ImageUsage {
  const others = new Set(all.filter(({ id }) => id !== image.id).flatMap((other) => [...layersOf(other).keys()]));
  let shared = 0;
  let unique = 0;
  for (const [diffId, size] of layersOf(image)) {
    if (others.has(diffId)) shared += size;
    else unique += size;
  }
  return {
    image,
    shared,
    unique,
    containers: containers.filter(({ container }) => container.image === image.id).length,
  };
}

/** Bytes of the files below a folder, each once; 0 when it is gone. A running container may change it meanwhile. */
export function treeSize(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
  return sizeBelow(fd, new Set());
}

/** Closes the descriptor. */
function sizeBelow(dirfd: number, seen: Set<bigint>): number {
  let bytes = 0;
  try {
    for (const { name, isDirectory } of readDirectory(dirfd)) {
      const fd = openat(dirfd, name, isDirectory ? O_RDONLY | O_DIRECTORY : O_PATH, 0, 'ENOENT', 'ENOTDIR', 'ELOOP');
      if (fd < 0) continue;
      if (isDirectory) bytes += sizeBelow(fd, seen);
      else bytes += sizeOnce(fd, seen);
    }
  } finally {
    closeSync(dirfd);
  }
  return bytes;
}

function sizeOnce(fd: number, seen: Set<bigint>): number {
  try {
    const { ino, nlink, size } = fstatSync(fd, { bigint: true });
    if (nlink > 1n && seen.has(ino)) return 0;
    if (nlink > 1n) seen.add(ino);
    return Number(size);
  } finally {
    closeSync(fd);
  }
}
