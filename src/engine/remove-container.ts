/** The end of a container, and of its anonymous volumes with it. Host side. */
import { type ContainerRecord, changeRecord, type Ended, readRecord, removeContainer } from './containers.ts';
import { containerEvent, endEvents, tell } from './journal.ts';
import { removeAnonymous } from './volume-store.ts';

/** As --rm and rm -v do, with its anonymous volumes; those first: as long as there is a container, somebody knows of them. Else like removeContainer. */
export function removeWithVolumes(
  root: string,
  id: string,
  mayGo?: (record: ContainerRecord) => boolean,
): ContainerRecord | undefined {
  return removeContainer(root, id, mayGo, (record) => removeAnonymous(root, id, record));
}

/** Of a container that nobody runs any more; `seen`: its end, else nobody has seen that. One that was created and did not get to run stays so. */
export function endRecord(root: string, id: string, remove: boolean, seen?: Ended): void {
  const ended = seen ?? { at: new Date().toISOString(), exitCode: 137 };
  const ran = ({ started, boot }: ContainerRecord) => started !== undefined || boot !== undefined;
  const end = (record: ContainerRecord) => (record.ended || !(seen || ran(record)) ? record : { ...record, ended });
  const before = readRecord(root, id);
  const after = remove ? undefined : changeRecord(root, id, end);
  const removed = after ? undefined : removeWithVolumes(root, id);
  const dies = before && !before.ended && (seen || ran(before));
  tell(root, [
    ...(dies ? endEvents(before, ended.exitCode, ended.limitsHit) : []),
    ...(removed ? [containerEvent(removed, 'destroy')] : []),
  ]);
}
