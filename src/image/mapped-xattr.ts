/** What becomes of a file's extended attributes when its owner is moved into a user namespace. Pure. */
import type { IdMaps } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';

const VFS_CAP_REVISION_2 = 0x02000000;
const VFS_CAP_REVISION_3 = 0x03000000;
const VFS_CAP_FLAGS_EFFECTIVE = 1;

/** File capabilities count in a user namespace if they say whose root may have them. Source: capabilities(7), linux/capability.h. */
export function mappedXattr(name: string, value: Buffer, idMaps: IdMaps | undefined): Buffer {
  const head = value.length === 20 ? value.readUInt32LE(0) : 0;
  const isCapability = name === 'security.capability' && (head & ~VFS_CAP_FLAGS_EFFECTIVE) === VFS_CAP_REVISION_2;
  if (!idMaps || !isCapability) return value;
  const wide = Buffer.alloc(24);
  value.copy(wide);
  wide.writeUInt32LE(VFS_CAP_REVISION_3 | (head & VFS_CAP_FLAGS_EFFECTIVE), 0);
  wide.writeUInt32LE(hostId(idMaps.uid, 0)!, 20);
  return wide;
}
