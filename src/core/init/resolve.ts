/**
 * The one way to a path inside the container: a descriptor, found by the kernel itself so that no link leads out of the
 * root (openat2, RESOLVE_IN_ROOT). The kernel is then given the descriptor, never the path (SEC-03, SEC-04).
 */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { Stage, StageFd } from '../stage/stage.ts';

const IN_ROOT = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;

export const exists = (fd: StageFd): boolean => fd >= 0;

/** An O_PATH descriptor, or a negative number if nothing is there. */
export function resolveInRoot(stage: Stage, root: StageFd, path: string, flags = k.O_PATH): StageFd {
  return stage.openat2(root, path, flags, IN_ROOT, ['ENOENT', 'ENOTDIR']);
}

/** As resolveInRoot, for many paths in one frame. */
export function resolveAllInRoot(stage: Stage, root: StageFd, paths: readonly string[]): StageFd[] {
  return stage.openat2_all(root, paths, k.O_PATH, IN_ROOT);
}

/** As resolveInRoot, but a symbolic link anywhere on the way is an error: for /proc and /sys (SEC-07). */
export function resolveWithoutLinks(stage: Stage, root: StageFd, path: string, flags = k.O_PATH): StageFd {
  try {
    return stage.openat2(root, path, flags, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_SYMLINKS, ['ENOENT', 'ENOTDIR']);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ELOOP') throw error;
    throw new ContainerError(`${path} in the container is, or leads through, a symbolic link: refused`, {
      cause: error,
    });
  }
}

/** A descriptor of a mount point: what is there, or made component by component, a file or a directory at the end. */
export function ensureTarget(
  stage: Stage,
  root: StageFd,
  path: string,
  kind: 'directory' | 'file',
  open: typeof resolveInRoot = resolveInRoot,
): StageFd {
  const there = open(stage, root, path);
  if (exists(there)) return there;
  const parts = path.split('/').filter((part) => part !== '');
  let parent = open(stage, root, '.');
  for (const [i, name] of parts.entries()) {
    const prefix = parts.slice(0, i + 1).join('/');
    let next = open(stage, root, prefix);
    if (!exists(next)) {
      if (kind === 'directory' || i < parts.length - 1) stage.mkdirat(parent, name, 0o755);
      else stage.mknodat(parent, name, k.S_IFREG | 0o644, 0, ['EEXIST']);
      next = open(stage, root, prefix);
    }
    if (!exists(next))
      throw new ContainerError(
        `the mount point ${path} can't be made: /${prefix} is a link that leads nowhere, or lies below a file`,
      );
    stage.close(parent);
    parent = next;
  }
  return parent;
}
