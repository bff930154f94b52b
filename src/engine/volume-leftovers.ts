/** What processes left of volumes that were killed while they made, filled or removed one. Host side. */
import { closeSync, existsSync } from 'node:fs';
import { tryLock } from '../image/lock.ts';
import { removeTree } from '../image/unpack/remove-tree.ts';
import { FILLED, FILLING, settle } from './volume-mounts.ts';
import { listVolumes, volumeFolder } from './volume-store.ts';
import { deadVolumes, openVolume, removeDeadVolumes } from './volumes.ts';

/** As paths. */
export function volumeLeftovers(root: string): string[] {
  const copies = unfilled(root).flatMap(({ name, left }) => left.map((part) => `${volumeFolder(root, name)}/${part}`));
  return [...deadVolumes(root), ...copies];
}

/** What is whole is put in its place, the rest is removed. */
export function endVolumeLeftovers(root: string): void {
  removeDeadVolumes(root);
  for (const { name } of unfilled(root))
    withFreeVolume(root, name, (folder) => {
      settle(folder, name);
      removeTree(folder, FILLING);
    });
}

/** Volumes with copies that nobody goes on with. */
function unfilled(root: string): { name: string; left: string[] }[] {
  return listVolumes(root).flatMap(({ name }) => {
    const left = [FILLING, FILLED].filter((part) => existsSync(`${volumeFolder(root, name)}/${part}`));
    return left.length > 0 && withFreeVolume(root, name, () => {}) ? [{ name, left }] : [];
  });
}

/** False if somebody holds its lock. */
function withFreeVolume(root: string, name: string, act: (folder: number) => void): boolean {
  const folder = openVolume(root, name);
  try {
    if (!tryLock(folder)) return false;
    act(folder);
    return true;
  } finally {
    closeSync(folder);
  }
}
