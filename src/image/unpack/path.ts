/** The names in an archive as paths below a root. Pure; byte strings. */
import { ContainerError } from '../../core/kernel/error.ts';

/** PATH_MAX without the closing NUL. Source: the kernel's include/uapi/linux/limits.h. */
const PATH_BYTES = 4095;
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * The path relative to the root, without a leading slash, empty components and dots; '' is the root itself. Throws
 * ContainerError for a component '..': no tool writes one, and nothing good can be meant by it.
 */
export function cleanPath(name: string): string {
  if (name.length > PATH_BYTES)
    throw new ContainerError(`a path of ${name.length} bytes, where Linux allows at most ${PATH_BYTES}`);
  if (!/(^|\/)(\.{0,2}|)(\/|$)/.test(name)) return name;
  const components = name.split('/').filter((component) => component !== '' && component !== '.');
  if (components.includes('..')) throw new ContainerError("its path contains '..', which could lead out of the root");
  return components.join('/');
}

/** Throws ContainerError for a directory whose name is a whiteout's: overlayfs could not show it. */
export function splitPath(path: string): { directory: string; name: string } {
  const slash = path.lastIndexOf('/');
  if (/(^|\/)\.wh\.[^/]*\//.test(path)) throw new ContainerError('a whiteout that is used as a directory');
  return { directory: path.slice(0, Math.max(slash, 0)), name: path.slice(slash + 1) };
}

/**
 * A file that aufs kept for itself and old layers still carry: .wh..wh.aufs, .wh..wh.orph/, .wh..wh.plnk/. Passed over,
 * as docker does.
 */
export function isAufsOwn(path: string): boolean {
  return path.startsWith('.wh..wh.') && path !== OPAQUE;
}

/**
 * What a marker file hides: a name; '' for all that lower layers have in its directory; undefined when it is no
 * marker. Throws ContainerError for a marker that speaks of no possible name.
 */
export function whiteoutOf(name: string): string | undefined {
  if (!name.startsWith(WHITEOUT)) return undefined;
  if (name === OPAQUE) return '';
  const hidden = name.slice(WHITEOUT.length);
  if (hidden === '' || hidden === '.' || hidden === '..' || hidden.startsWith(WHITEOUT))
    throw new ContainerError('a whiteout that names no file');
  return hidden;
}
