/** `image prune`: removes images that nobody refers to any more. Host side. */

import { ContainerError } from '../core/kernel/error.ts';
import { cleanBlobs } from './clean.ts';
import { parseMoment } from './moment.ts';
import { type Image, listImages } from './records.ts';
import { containersOf, type Removed, removeImage } from './remove.ts';

export interface PruneOptions {
  /** Also images that have a tag, as long as no container uses them. */
  all: boolean;
  /** Only images made before this moment, ms since the epoch. */
  until?: number | undefined;
}

/**
 * One Removed for each image that is gone. An image that a container uses stays. Blobs without an image go as well, also
 * what an interrupted pull left. Throws ContainerError.
 */
export function pruneImages(root: string, options: PruneOptions): Removed[] {
  const removed = pruned(root, options).flatMap((image) => {
    try {
      return removeImage(root, image.id, true, image.names);
    } catch (error) {
      // Since the list was made a container may have begun to use it, or somebody has removed it or given it a name.
      if (error instanceof ContainerError && error.exitCode === 1) return [];
      throw error;
    }
  });
  cleanBlobs(root);
  return removed;
}

function pruned(root: string, { all, until }: PruneOptions): Image[] {
  const used = new Set(containersOf(root).map(({ image }) => image));
  return listImages(root).filter(
    ({ id, names, created }) =>
      !used.has(id) &&
      (all || names.every((name) => name.includes('@'))) &&
      (until === undefined || Date.parse(created) < until),
  );
}

/** `--filter until=…`: 24h or 1h30m before `now`, seconds since the epoch, or a date. Throws ContainerError. */
export function readUntil(filter: string, now: number): number {
  const [, key, value = ''] = /^([^=]*)=(.*)$/.exec(filter) ?? [];
  if (key !== 'until')
    throw new ContainerError(`--filter ${JSON.stringify(filter)}: only until=TIME is understood here`);
  const moment = parseMoment(value, now);
  if (moment === undefined)
    throw new ContainerError(
      `--filter until=${value}: write an age like 24h, a date like 2026-01-31T12:00:00Z, or seconds since the epoch`,
    );
  return moment;
}
