/**
 * A process's own folder in the store, layers/tmp-<pid>-<random>/, where layers are unpacked before they are published.
 * Host side. The folder's own lock (flock) says that its owner lives: it ends with the process, whatever kills it.
 */

import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomHex } from '../core/host/random.ts';
import { O_DIRECTORY, O_RDONLY } from '../core/kernel/constants.ts';
import { blobFile, type FoundLayer, hasBlob, writeFoundLayer } from './blobs.ts';
import { ensureStore, hexOf, layerName, layersFolder, readdirIfThere } from './layout.ts';
import { tryLock, withStoreLock } from './lock.ts';
import { removeTree } from './unpack/remove-tree.ts';

export const WORK_PREFIX = 'tmp-';
const KEEP_PREFIX = 'keep-';
const KEEP_BLOB_PREFIX = 'blob-';

/**
 * Layers that a live process needs although no image has them yet: an empty file keep-<layer> in its folder. Whoever
 * removes unused layers looks for these, with the store's lock.
 */
export function keptLayers(root: string, dead: readonly string[] = []): string[] {
  return marks(root, KEEP_PREFIX, dead);
}

/** The digests of blobs that a live process needs, or is about to fetch: files blob-<64 hex> in its folder. */
export function keptBlobs(root: string, dead: readonly string[] = []): string[] {
  return marks(root, KEEP_BLOB_PREFIX, dead).map((hex) => `sha256:${hex}`);
}

/** But for folders of `dead` processes. */
function marks(root: string, prefix: string, dead: readonly string[]): string[] {
  const folders = readdirSync(layersFolder(root)).filter((name) => /^tmp-[0-9]+-/.test(name) && !dead.includes(name));
  return folders.flatMap((name) => marksIn(join(layersFolder(root), name), prefix));
}

function marksIn(folder: string, prefix: string): string[] {
  const files = readdirIfThere(folder);
  return files.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
}

export class Work {
  readonly #root: string;
  readonly #fd: number;
  readonly #name: string;
  #trees = 0;

  /** Makes the store where there is none. close() it in any case. */
  constructor(root: string) {
    this.#root = root;
    ensureStore(root);
    this.#name = `${WORK_PREFIX}${process.pid}-${randomHex(4)}`;
    // With the store's lock, so that nobody takes the folder for a dead one's before it is locked.
    this.#fd = withStoreLock(root, () => {
      mkdirSync(this.path(), { mode: 0o700 });
      const fd = openSync(this.path(), O_RDONLY | O_DIRECTORY);
      tryLock(fd);
      return fd;
    });
  }

  /** Whoever inherits this descriptor holds the lock as well: the folder is somebody's until he is gone, too. */
  get lockFd(): number {
    return this.#fd;
  }

  path(...below: string[]): string {
    return join(layersFolder(this.#root), this.#name, ...below);
  }

  /** A new empty directory to unpack into. Mode and times are what a layer without an entry for its root has. */
  newTree(): string {
    const tree = this.path(String(this.#trees++));
    mkdirSync(tree, { mode: 0o755 });
    return tree;
  }

  /** A name for a new file of this work. */
  newFile(): string {
    return this.path(`file-${this.#trees++}`);
  }

  /** True when the store has the layer; it then stays until this work is closed or an image refers to it. */
  keep(diffId: string): boolean {
    return withStoreLock(this.#root, () => {
      if (!existsSync(join(layersFolder(this.#root), layerName(diffId)))) return false;
      this.#mark(diffId);
      return true;
    });
  }

  /** Blobs, there or about to come, that stay until this work is closed or an image refers to them. */
  keepBlobs(digests: readonly string[]): void {
    withStoreLock(this.#root, () => {
      for (const digest of digests) writeFileSync(this.path(KEEP_BLOB_PREFIX + hexOf(digest)), '');
    });
  }

  /** The digests of all blobs that this work keeps. */
  ownBlobs(): string[] {
    return marksIn(this.path(), KEEP_BLOB_PREFIX).map((hex) => `sha256:${hex}`);
  }

  /**
   * Puts a complete, verified tree and the archive that it came from in their places, and keeps both. Somebody else may have
   * been faster: theirs is the same.
   */
  publish(tree: string, layer: FoundLayer, archive: { path: string; digest: string }): void {
    const place = join(layersFolder(this.#root), layerName(layer.diffId));
    withStoreLock(this.#root, () => {
      this.#mark(layer.diffId);
      this.#placeArchive(layer, archive);
      if (!existsSync(place)) renameSync(tree, place);
    });
  }

  /** Puts a copy of a layer with other owners beside it; where the layer is gone meanwhile, the copy goes with this work. */
  publishCopy(tree: string, layer: string, suffix: string): void {
    const place = join(layersFolder(this.#root), layer);
    withStoreLock(this.#root, () => {
      if (existsSync(place) && !existsSync(`${place}.${suffix}`)) renameSync(tree, `${place}.${suffix}`);
    });
  }

  /** The same as publish for one more archive of a layer whose tree is there. */
  publishArchive(layer: FoundLayer, archive: { path: string; digest: string }): void {
    withStoreLock(this.#root, () => this.#placeArchive(layer, archive));
  }

  #placeArchive(layer: FoundLayer, { path, digest }: { path: string; digest: string }): void {
    writeFileSync(this.path(KEEP_BLOB_PREFIX + hexOf(digest)), '');
    if (!hasBlob(this.#root, digest)) renameSync(path, blobFile(this.#root, digest));
    writeFoundLayer(this.#root, digest, layer);
  }

  #mark(diffId: string): void {
    writeFileSync(this.path(KEEP_PREFIX + layerName(diffId)), '');
  }

  /** Removes the folder and what was left unfinished in it. */
  close(): void {
    const layersFd = openSync(layersFolder(this.#root), O_RDONLY | O_DIRECTORY);
    try {
      removeTree(layersFd, this.#name);
    } finally {
      closeSync(layersFd);
      closeSync(this.#fd);
    }
  }
}
