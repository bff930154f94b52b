/** Masked and read-only paths: what of /proc and /sys is the whole host's and no business of a container. */
import * as k from '../kernel/constants.ts';
import type { Stage, StageFd } from '../stage/stage.ts';
import { exists, resolveAllInRoot } from './resolve.ts';

/** Files are covered by the null device, directories by one empty read-only tmpfs. What does not exist is skipped. */
export function maskPaths(stage: Stage, root: StageFd, paths: readonly string[], nullDevice: StageFd): void {
  stage.step({
    id: 'paths.mask',
    why: 'files that tell about or act on the whole host are covered, by a device that was checked, through descriptors',
    without: '/proc/kcore would be the host’s memory, /proc/timer_list its timers',
    see: ['config-linux.md: Masked Paths', 'CVE-2025-31133'],
  });
  const targets = resolveAllInRoot(stage, root, paths).filter(exists);
  const statuses = stage.statx_all(targets);
  const isDirectory = (_: StageFd, i: number) => (statuses[i]!.mode & k.S_IFMT) === k.S_IFDIR;
  const directories = targets.filter(isDirectory);
  const files = targets.filter((fd, i) => !isDirectory(fd, i));
  coverAll(stage, files, () => stage.open_tree_all(files.map(() => nullDevice)));
  if (directories.length > 0) {
    const context = stage.fsopen('tmpfs');
    stage.fsconfig_set_string(context, 'size', '0k');
    stage.fsconfig_set_string(context, 'nr_inodes', '1');
    stage.fsconfig_create(context);
    const empty = stage.fsmount(
      context,
      k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC,
    );
    stage.move_mount(empty, directories[0]!); // only an attached mount can be copied before Linux 6.15
    coverAll(stage, directories.slice(1), () => stage.open_tree_all(directories.slice(1).map(() => empty)));
    for (const fd of [context, empty, directories[0]!]) stage.close(fd);
  }
  stage.close(nullDevice);
}

/** Each path is bound onto itself, read-only, with all that is mounted below it. */
export function protectPaths(stage: Stage, root: StageFd, paths: readonly string[]): void {
  stage.step({
    id: 'paths.readonly',
    why: 'settings of the whole kernel can be read, not changed',
    without: 'root in the container could write /proc/sys and /proc/sysrq-trigger',
    see: ['config-linux.md: Readonly Paths'],
  });
  const targets = resolveAllInRoot(stage, root, paths).filter(exists);
  coverAll(stage, targets, () => {
    const copies = stage.open_tree_all(targets, k.AT_RECURSIVE);
    for (const copy of copies) stage.mount_setattr(copy, { set: k.MOUNT_ATTR_RDONLY, recursive: true });
    return copies;
  });
}

function coverAll(stage: Stage, targets: readonly StageFd[], open: () => StageFd[]): void {
  if (targets.length === 0) return;
  for (const [i, cover] of open().entries()) {
    stage.move_mount(cover, targets[i]!);
    stage.close(cover);
    stage.close(targets[i]!);
  }
}
