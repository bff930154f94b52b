/** Masked and read-only paths: what of /proc and /sys is the whole host's and no business of a container. */
import * as k from '../kernel/constants.ts';
import type { Stage, StageFd } from '../stage/stage.ts';
import { resolveInRoot } from './resolve.ts';

/** Files are covered by the null device, directories by one empty read-only tmpfs. What does not exist is skipped. */
export function maskPaths(stage: Stage, root: StageFd, paths: readonly string[], nullDevice: StageFd): void {
  stage.step({
    id: 'paths.mask',
    why: 'files that tell about or act on the whole host are covered, by a device that was checked, through descriptors',
    without: '/proc/kcore would be the host’s memory, /proc/timer_list its timers',
    see: ['config-linux.md: Masked Paths', 'CVE-2025-31133'],
  });
  const targets = paths.map((path) => resolveInRoot(stage, root, path));
  const statuses = stage.statx_all(targets);
  const ofType = (directory: boolean) =>
    targets.filter((_, i) => statuses[i] && ((statuses[i].mode & k.S_IFMT) === k.S_IFDIR) === directory);
  for (const file of ofType(false)) cover(stage, stage.clone(nullDevice), file);
  const directories = ofType(true);
  if (directories.length > 0) {
    const context = stage.fsopen('tmpfs');
    stage.fsconfig_set_string(context, 'size', '0k');
    stage.fsconfig_set_string(context, 'nr_inodes', '1');
    stage.fsconfig_create(context);
    const empty = stage.fsmount(
      context,
      k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC,
    );
    stage.move_mount(empty, directories[0]!); // before Linux 6.15 only an attached mount can be copied
    for (const directory of directories.slice(1)) cover(stage, stage.clone(empty), directory);
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
  const targets = paths.map((path) => resolveInRoot(stage, root, path));
  for (const target of targets.filter((fd) => stage.exists(fd))) {
    const copy = stage.clone(target, k.AT_RECURSIVE);
    stage.mount_setattr(copy, { set: k.MOUNT_ATTR_RDONLY, recursive: true });
    cover(stage, copy, target);
  }
}

function cover(stage: Stage, mount: StageFd, target: StageFd): void {
  stage.move_mount(mount, target);
  stage.close(mount);
  stage.close(target);
}
