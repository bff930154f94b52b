/** Images that are gone, told as events. */
import { imageEvent, tell } from '../engine/journal.ts';
import type { Removed } from '../image/remove.ts';

/** `id`: sha256:…; its layers go without an event, as docker's. */
export function tellRemoved(root: string, id: string, { untagged, deleted }: Removed): void {
  const events = untagged.map(() => imageEvent('untag', id, id));
  tell(root, deleted.includes(id) ? [...events, imageEvent('delete', id, id)] : events);
}
