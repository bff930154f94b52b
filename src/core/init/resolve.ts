/**
 * The one way to a path inside the container: a descriptor, found by the kernel itself so that no link leads out of the
 * root (openat2, RESOLVE_IN_ROOT). The kernel is then given the descriptor, never the path (SEC-03, SEC-04).
 */
import * as k from '../kernel/constants.ts';
import type { Stage, StageFd } from '../stage/stage.ts';

/** Links are followed, but never out of the root. */
export const IN_ROOT = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS;
/** A link anywhere on the way is an error: for what belongs to the kernel, /proc, /sys and /dev (SEC-07, SEC-08). */
export const NO_LINKS = k.RESOLVE_IN_ROOT | k.RESOLVE_NO_SYMLINKS;

/** The descriptor exists (stage.exists) if something is there. */
export function resolveInRoot(
  stage: Stage,
  root: StageFd,
  path: string,
  flags: number = k.O_PATH,
  resolve = IN_ROOT,
): StageFd {
  return stage.openat2(root, path, flags, resolve, ['ENOENT', 'ENOTDIR']);
}

/**
 * A descriptor of a mount point: what is there, or made component by component, a file or a directory at the end. Each
 * component is made relative to the descriptor of the one before; what exists (EEXIST) is left as it is.
 */
export function ensureTarget(
  stage: Stage,
  root: StageFd,
  path: string,
  kind: 'directory' | 'file',
  resolve = IN_ROOT,
): StageFd {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  let parent = stage.openat2(root, '.', k.O_PATH, resolve);
  for (const [i, name] of parts.entries()) {
    if (kind === 'directory' || i < parts.length - 1) stage.mkdirat(parent, name, 0o755);
    else stage.mknodat(parent, name, k.S_IFREG | 0o644, 0, ['EEXIST']);
    const next = stage.openat2(root, parts.slice(0, i + 1).join('/'), k.O_PATH, resolve);
    stage.close(parent);
    parent = next;
  }
  return parent;
}
