/** What an archive may say about owners, devices and extended attributes, and what not. Pure. */
import { ContainerError } from '../../core/kernel/error.ts';
import { type Entry, shown } from '../tar/entry.ts';

/** -1 means "leave it" to chown(2), so the largest id is one less. */
const MOST_ID = 0xffff_fffe;
const MOST_MAJOR = 0xfff;
const MOST_MINOR = 0xf_ffff;

/** Labels and seals of the host's own policy: an image from elsewhere has no say in them, docker leaves them out too. */
const HOST_POLICY = new Set([
  'security.selinux',
  'security.apparmor',
  'security.ima',
  'security.evm',
  'security.SMACK64',
]);

export function isHostPolicy(xattr: string): boolean {
  return HOST_POLICY.has(xattr);
}

export function checkOwner(entry: Entry): void {
  for (const key of ['uid', 'gid'] as const)
    if (entry[key] > MOST_ID)
      throw new ContainerError(`its ${key} is ${entry[key]}, where at most ${MOST_ID} is allowed`);
}

/** The number for mknod(2), as the kernel packs it (new_encode_dev). Throws ContainerError for one Linux can't have. */
export function checkDevice(entry: Entry): number {
  const { devMajor: major, devMinor: minor } = entry;
  if (major > MOST_MAJOR || minor > MOST_MINOR) throw new ContainerError(`Linux has no device ${major}:${minor}`);
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/**
 * The attributes to set. trusted.overlay.* is overlayfs's own language: from an archive it could redirect a directory
 * to another, so it is refused.
 */
export function wantedXattrs(entry: Entry): [name: string, value: Buffer][] {
  const wanted: [string, Buffer][] = [];
  for (const [name, value] of entry.xattrs) {
    if (name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.'))
      throw new ContainerError(`it carries the extended attribute ${shown(name)}, by which overlayfs is steered`, {
        hint: 'opaque directories are written as .wh..wh..opq in a layer',
      });
    if (name === '' || name.includes('\0')) throw new ContainerError('it carries an extended attribute without a name');
    if (!isHostPolicy(name)) wanted.push([name, value]);
  }
  return wanted;
}
