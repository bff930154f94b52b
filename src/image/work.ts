/**
 * A process's own folder in the store, layers/tmp-<pid>-<random>/, where layers are unpacked before they are published.
 * Host side. The folder's own lock (flock) says that its owner lives: it ends with the process, whatever kills it.
 */

import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomHex } from '../core/host/random.ts';
import { O_DIRECTORY, O_RDONLY } from '../core/kernel/constants.ts';
import { ensureStore, layerName, layersFolder, readdirIfThere } from './layout.ts';
import { tryLock, withStoreLock } from './lock.ts';
import { removeTree } from './unpack/remove-tree.ts';

export const WORK_PREFIX = 'tmp-';
const KEEP_PREFIX = 'keep-';

/**
 * Layers that a live process needs although no image has them yet: an empty file keep-<layer> in its folder. Whoever
 * removes unused layers looks for these, with the store's lock.
 */
export function keptLayers(root: string): string[] {
  const folders = readdirSync(layersFolder(root)).filter((name) => /^tmp-[0-9]+-/.test(name));
  const files = folders.flatMap((name) => readdirIfThere(join(layersFolder(root), name)));
  return files.filter((name) => name.startsWith(KEEP_PREFIX)).map((name) => name.slice(KEEP_PREFIX.length));
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

  path(...below: string[]): string {
    return join(layersFolder(this.#root), this.#name, ...below);
  }

  /** A new empty directory to unpack into. Mode and times are what a layer without an entry for its root has. */
  newTree(): string {
    const tree = this.path(String(this.#trees++));
    mkdirSync(tree, { mode: 0o755 });
    return tree;
  }

  /** True when the store has the layer; it then stays until this work is closed or an image refers to it. */
  keep(diffId: string): boolean {
    return withStoreLock(this.#root, () => {
      if (!existsSync(join(layersFolder(this.#root), layerName(diffId)))) return false;
      this.#mark(diffId);
      return true;
    });
  }

  /** Puts a complete, verified tree in its place and keeps it. Somebody else may have been faster: theirs is the same. */
  publish(tree: string, diffId: string): void {
    const place = join(layersFolder(this.#root), layerName(diffId));
    withStoreLock(this.#root, () => {
      this.#mark(diffId);
      if (!existsSync(place)) renameSync(tree, place);
    });
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
