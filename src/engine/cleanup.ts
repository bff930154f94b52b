/**
 * What dead supervisors left: their containers' processes, cgroups, state folders and, for --rm, writable layers. Every
 * command does this for itself at its start, `tinyctr cleanup` tells of it. Host side.
 */

import { listStates, removeUnborn, StateFolder } from '../core/container/state.ts';
import { killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { readRecord, removeContainer, writeRecord } from './containers.ts';

/** Returns the ids of the containers that were cleaned up. A living container's lock keeps us away from it. */
export async function cleanup(root: string, runRoot: string): Promise<string[]> {
  removeUnborn(runRoot);
  const cleaned: string[] = [];
  for (const id of listStates(runRoot)) {
    const folder = StateFolder.adopt(runRoot, id);
    if (!folder) continue;
    const state = folder.read();
    killCgroup(state.cgroup);
    await removeCgroup(state.cgroup);
    if (state.remove) removeContainer(root, id);
    else markKilled(root, id);
    folder.remove();
    cleaned.push(id);
  }
  return cleaned;
}

function markKilled(root: string, id: string): void {
  const record = readRecord(root, id);
  if (record && !record.ended) writeRecord(root, { ...record, ended: { at: new Date().toISOString(), exitCode: 137 } });
}
