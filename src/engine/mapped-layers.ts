/** An image's layers for a container in a user namespace: seen through idmapped mounts, or copied. Host side. */
import { closeSync } from 'node:fs';
import { release } from 'node:os';
import { openNamespaces } from '../core/host/namespaces.ts';
import { syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { mountAttr } from '../core/kernel/structs.ts';
import type { IdMaps } from '../core/plan/plan.ts';

export interface MappedLayers {
  /** Names in the folder of layers, lowest first. */
  lower: readonly string[];
  idMapped: boolean;
}

export async function mapLayers(
  root: string,
  folder: string,
  layers: readonly string[],
  maps: IdMaps,
): Promise<MappedLayers> {
  if (overlayCan(release()) && canBeIdmapped(folder, maps)) return { lower: layers, idMapped: true };
  const { shiftedLayers } = await import('../image/shifted.ts');
  return { lower: await shiftedLayers(root, layers, maps), idMapped: false };
}

/** Overlayfs takes idmapped layers since Linux 5.19. */
export function overlayCan(kernel: string): boolean {
  const [major, minor] = kernel.split('.').map(Number) as [number, number];
  return major > 5 || (major === 5 && minor >= 19);
}

/** mount_setattr(2) on a copy of the mount: EINVAL where the file system can't, EPERM where the mount is idmapped already. */
export function canBeIdmapped(folder: string, maps: IdMaps): boolean {
  const [namespace] = openNamespaces([], [maps]);
  const tree = syscall('open_tree', [k.AT_FDCWD, folder, k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC]);
  const attr = mountAttr(k.MOUNT_ATTR_IDMAP, 0, 0, namespace!);
  const result = syscall('mount_setattr', [tree, '', k.AT_EMPTY_PATH, attr, attr.length], ['EINVAL', 'EPERM']);
  for (const fd of [namespace!, tree]) closeSync(fd);
  return result === 0;
}
