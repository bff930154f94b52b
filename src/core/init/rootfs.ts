/** The root file system, mounted inside the container's own mount namespace: when that ends, nothing is left. */
import * as k from '../kernel/constants.ts';
import type { RootPlan } from '../plan/plan.ts';
import type { Stage, StageFd } from '../stage/stage.ts';

/** Returns a descriptor of the mounted root; everything below is reached through it. */
export function mountRoot(stage: Stage, root: RootPlan, idMap: StageFd | undefined): StageFd {
  if (root.source.kind === 'overlay') mountOverlay(stage, root.source, root.target, idMap);
  else bindDirectory(stage, root.source.path, root.target);
  return stage.openat2(k.AT_FDCWD, root.target, k.O_PATH | k.O_DIRECTORY, k.RESOLVE_NO_SYMLINKS);
}

type Overlay = Extract<RootPlan['source'], { kind: 'overlay' }>;

function mountOverlay(stage: Stage, source: Overlay, target: string, idMap: StageFd | undefined): void {
  stage.step({
    id: 'rootfs.overlay',
    why: 'the image’s layers lie below, read-only and shared by all its containers; what this one writes goes into its upper folder',
    without: 'every start would copy the whole image',
    see: ['the kernel’s overlayfs.rst'],
  });
  stage.chdir(source.layersFolder); // layers by short relative names: mount(2) takes at most a page of options
  if (source.idMapped) for (const layer of source.lower) mapLayer(stage, layer, idMap!);
  const lower = [...source.lower].reverse().join(':');
  const options = `lowerdir=${lower},upperdir=${source.upper},workdir=${source.work}${source.volatile ? ',volatile' : ''}`;
  stage.mount('overlay', target, 'overlay', 0, options);
}

/** Over the layer itself, in this mount namespace alone: files of root are seen as the container's root's, without a copy. */
function mapLayer(stage: Stage, layer: string, idMap: StageFd): void {
  const tree = stage.open_tree(k.AT_FDCWD, layer, k.OPEN_TREE_CLONE);
  stage.mount_setattr(tree, { idMap });
  attach(stage, tree, layer);
  stage.close(tree);
}

function bindDirectory(stage: Stage, path: string, target: string): void {
  stage.step({
    id: 'rootfs.bind',
    why: 'pivot_root wants a mount point as the new root: the folder is bound onto itself',
    without: 'pivot_root fails with EINVAL',
    see: ['pivot_root(2)'],
  });
  const tree = stage.open_tree(k.AT_FDCWD, path, k.OPEN_TREE_CLONE | k.AT_RECURSIVE);
  stage.mount_setattr(tree, { propagation: k.MS_PRIVATE, recursive: true });
  attach(stage, tree, target);
  stage.close(tree);
}

/** Onto a directory of the host's, in this mount namespace. */
export function attach(stage: Stage, tree: StageFd, path: string): void {
  const at = stage.openat2(k.AT_FDCWD, path, k.O_PATH | k.O_DIRECTORY, 0);
  stage.move_mount(tree, at);
  stage.close(at);
}
