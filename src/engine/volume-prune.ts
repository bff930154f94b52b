/** `volume prune`, and what `system prune --volumes` does with volumes. Host side. */
import { treeSize } from './disk-usage.ts';
import type { VolumeFilter } from './volume-filter.ts';
import { isAnonymous, listVolumes, removeVolumes } from './volume-store.ts';
import { removeDeadVolumes } from './volumes.ts';

export interface PrunedVolumes {
  /** Names. */
  deleted: string[];
  /** Bytes of their files. */
  reclaimed: number;
}

/** Removes volumes that no container has: anonymous ones, or `all`. @throws ContainerError */
export function pruneVolumes(root: string, all: boolean, keeps: VolumeFilter = () => true): PrunedVolumes {
  removeDeadVolumes(root);
  let reclaimed = 0;
  const names = listVolumes(root).map(({ name }) => name);
  const deleted = removeVolumes(root, names, (volume) => {
    if (volume.users.length > 0 || !(all || isAnonymous(volume)) || !keeps(volume)) return false;
    reclaimed += treeSize(volume.mountpoint);
    return true;
  });
  return { deleted, reclaimed };
}
