/** Ids inside and outside of a user namespace. Pure. Source: user_namespaces(7), config-linux.md "User namespace mappings". */
import type { IdMapping, Linux } from '../spec/types.ts';
import type { IdMaps } from './plan.ts';

/** What the host calls this id of the container's; undefined if it is not mapped. */
export function hostId(map: readonly IdMapping[], id: number): number | undefined {
  const found = map.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return found && found.hostID + id - found.containerID;
}

/** The maps of a new user namespace. Without one there are none, and a joined one has its own. */
export function newUserMaps({ namespaces, uidMappings: uid = [], gidMappings: gid = [] }: Linux): IdMaps | undefined {
  return namespaces?.some(({ type, path }) => type === 'user' && !path) ? { uid, gid } : undefined;
}
