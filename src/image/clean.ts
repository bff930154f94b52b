/** Removes what nobody needs: folders of dead processes, layers that no image has, half-written records. Host side. */
import { closeSync, existsSync, openSync, readdirSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { O_DIRECTORY, O_RDONLY } from '../core/kernel/constants.ts';
import { removeUnusedBlobs, unusedBlobs } from './blobs.ts';
import { blobsFolder, configsFolder, imagesFolder, layersFolder, namesFolder } from './layout.ts';
import { tryLock, withStoreLock } from './lock.ts';
import { listIds, listImages } from './records.ts';
import { removeTree } from './unpack/remove-tree.ts';
import { keptBlobs, keptLayers, WORK_PREFIX } from './work.ts';

/** A layer on its way out; a prefix that cleanStore knows. */
const GONE_PREFIX = `${WORK_PREFIX}gone-`;

/**
 * After a crash: removes the folders of dead processes, and then all that is unused. Costs one listing of a folder when
 * there was no crash. Returns the names of what was removed.
 */
export function cleanStore(root: string): string[] {
  if (!existsSync(layersFolder(root)) || workFolders(root).length === 0) return [];
  const dead = withStoreLock(root, () => workFolders(root).flatMap((name) => hide(root, name) ?? []));
  if (dead.length === 0) return [];
  // The dead one's folder goes last: while it is there, the next command knows that there is something to clean.
  const unused = removeUnused(root);
  removeClaimed(root, dead);
  return [...dead.map(({ name }) => name.slice(GONE_PREFIX.length)), ...unused];
}

/**
 * Removes every layer that neither an image nor a process at work needs, and configurations without an image. Returns
 * the names of the removed layers. Throws ContainerError, removing nothing, when an image's record can't be read.
 */
export function removeUnused(root: string): string[] {
  const gone = withStoreLock(root, () => {
    const layers = unusedLayers(root);
    for (const path of strayFiles(root)) unlinkSync(path);
    return layers.flatMap((layer) => hide(root, layer) ?? []);
  });
  removeClaimed(root, gone);
  return gone.map(({ name }) => name.slice(GONE_PREFIX.length));
}

/** A copy of a layer with other owners goes with it: <layer>.<map>. */
function unusedLayers(root: string, dead: readonly string[] = []): string[] {
  const needed = new Set(listImages(root).flatMap((image) => image.layers));
  for (const layer of keptLayers(root, dead)) needed.add(layer);
  const all = readdirSync(layersFolder(root)).filter((name) => /^[a-f0-9]{32}(\.[a-f0-9]{16})?$/.test(name));
  return all.filter((name) => !needed.has(name.slice(0, 32)));
}

/** What cleanStore, removeUnused and cleanBlobs would remove, as paths. */
export interface Unused {
  /** Folders of dead processes. */
  work: string[];
  layers: string[];
  /** Half-written records and names, configurations without an image. */
  files: string[];
  blobs: string[];
}

/** Changes nothing. Throws ContainerError when an image's record can't be read. */
export function findUnused(root: string): Unused {
  if (!existsSync(layersFolder(root))) return { work: [], layers: [], files: [], blobs: [] };
  return withStoreLock(root, () => {
    const claimed = workFolders(root).flatMap((name) => ({ name, fd: claim(root, name) }));
    const dead = claimed.flatMap(({ name, fd }) => (fd === undefined ? [] : [name]));
    try {
      const inLayers = (name: string) => join(layersFolder(root), name);
      return {
        work: dead.map(inLayers),
        layers: unusedLayers(root, dead).map(inLayers),
        files: strayFiles(root),
        blobs: unusedBlobs(root, keptBlobs(root, dead)).map((name) => join(blobsFolder(root), name)),
      };
    } finally {
      for (const { fd } of claimed) if (fd !== undefined) closeSync(fd);
    }
  });
}

/** Removes blobs without an image, also those that a failed pull left to be gone on with. Returns their digests. */
export function cleanBlobs(root: string): string[] {
  return existsSync(layersFolder(root)) ? withStoreLock(root, () => removeUnusedBlobs(root, keptBlobs(root))) : [];
}

/** A folder to be removed, locked by this process so that no other removes it as well. */
interface Claimed {
  name: string;
  fd: number;
}

/**
 * Takes a folder whose owner is dead out of sight; removing it takes time, and others need the store's lock. Should this
 * process die before it is done, the next one takes over. undefined when the owner lives.
 */
function hide(root: string, name: string): Claimed | undefined {
  const fd = claim(root, name);
  if (fd === undefined || name.startsWith(GONE_PREFIX)) return fd === undefined ? undefined : { name, fd };
  renameSync(join(layersFolder(root), name), join(layersFolder(root), GONE_PREFIX + name));
  return { name: GONE_PREFIX + name, fd };
}

/**
 * The lock of a folder whose owner is dead; undefined when he lives. Call it with the store's lock: an owner has locked
 * his folder before he gives that lock back.
 */
function claim(root: string, name: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(join(layersFolder(root), name), O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined; // its owner has just removed it
    throw error;
  }
  if (tryLock(fd)) return fd;
  closeSync(fd);
  return undefined;
}

function removeClaimed(root: string, claimed: readonly Claimed[]): void {
  const layersFd = openSync(layersFolder(root), O_RDONLY | O_DIRECTORY);
  try {
    for (const { name } of claimed) removeTree(layersFd, name);
  } finally {
    closeSync(layersFd);
    for (const { fd } of claimed) closeSync(fd);
  }
}

function workFolders(root: string): string[] {
  return readdirSync(layersFolder(root)).filter((name) => name.startsWith(WORK_PREFIX));
}

/** Files are written under the lock: one that begins with a dot was left by a process that died while writing it. */
function strayFiles(root: string): string[] {
  const ids = new Set(listIds(root));
  const stray = (folder: string, isStray: (name: string) => boolean) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => isStray(file.slice(file.lastIndexOf('/') + 1)))
      .map((file) => join(folder, file));
  return [
    ...stray(configsFolder(root), (name) => !ids.has(name)),
    ...stray(imagesFolder(root), (name) => name.startsWith('.')),
    ...stray(namesFolder(root), (name) => /^\.[:@]/.test(name)),
  ];
}
