/** `container prune`: removes containers that nobody runs, and that nobody is about to run. Host side. */
import { closeSync, existsSync } from 'node:fs';
import { parseMoment } from '../image/moment.ts';
import { type ContainerRecord, listContainers, removeContainer } from './containers.ts';
import { writtenSize } from './disk-usage.ts';
import { tryFolderLock } from './folder-lock.ts';
import { cut } from './identity.ts';
import { containerEvent, pruneEvent, tell } from './journal.ts';
import { comesBack } from './restart-policy.ts';
import { storedIfWhole } from './stored-file.ts';
import { UsageError } from './usage-error.ts';

export interface Pruned {
  ids: string[];
  /** What they had written. */
  bytes: number;
}

export type PruneFilter = (record: ContainerRecord) => boolean;

/**
 * Those that ended, and those that were created and never ran, as docker has it. What runs, is paused, waits for its next start or is just
 * being made or started stays, whenever it comes to be so; and what is damaged, for somebody to look at.
 */
export function pruneContainers(root: string, runRoot: string, keeps: PruneFilter): Pruned {
  const isFree = (record: ContainerRecord) => !isWanted(root, runRoot, record) && keeps(record);
  const pruned: Pruned = { ids: [], bytes: 0 };
  for (const record of listContainers(root).filter(isFree)) {
    const bytes = writtenSize(root, record.id);
    const removed = removeContainer(root, record.id, isFree); // asked again, while nobody can start it
    if (!removed) continue;
    tell(root, [containerEvent(removed, 'destroy')]);
    pruned.ids.push(record.id);
    pruned.bytes += bytes;
  }
  tell(root, [pruneEvent('container', pruned.bytes)]);
  return pruned;
}

function isWanted(root: string, runRoot: string, record: ContainerRecord): boolean {
  const { id, ended, stopped, dueMs, restarts = 0, damage } = record;
  if (damage !== undefined || existsSync(`${runRoot}/${id}`)) return true;
  if (!ended) return record.started !== undefined || record.boot !== undefined || isBeingMade(root, id);
  if (stopped) return isBeingMade(root, id);
  const policy = storedIfWhole(root, id)?.restart;
  return dueMs !== undefined || (policy !== undefined && comesBack(policy, ended.exitCode, restarts));
}

/** Whoever makes a container in order to start it holds this lock until then (`register`). */
function isBeingMade(root: string, id: string): boolean {
  const lock = tryFolderLock(`${root}/containers/${id}/rootfs`);
  if (typeof lock === 'number') closeSync(lock);
  return lock === 'held';
}

/** `until=…`, `label=key[=value]`, `label!=key[=value]`: each counts. @throws UsageError */
export function pruneFilter(texts: readonly string[], now: number): PruneFilter {
  const tests = texts.map((text): PruneFilter => {
    const [name, value] = cut(text, '=');
    if (name === 'until' && value !== undefined) {
      const moment = parseMoment(value, now);
      if (moment !== undefined) return ({ created }) => Date.parse(created) < moment;
      throw new UsageError(`--filter '${text}': give an age like 24h, a date, or seconds since 1970`);
    }
    if ((name === 'label' || name === 'label!') && value) {
      const [key, wanted] = cut(value, '=');
      const has: PruneFilter = ({ labels }) =>
        Object.hasOwn(labels, key) && (wanted === undefined || labels[key] === wanted);
      return name === 'label' ? has : (record) => !has(record);
    }
    throw new UsageError(`--filter '${text}' is not understood: give until=…, label=… or label!=…`);
  });
  return (record) => tests.every((test) => test(record));
}
