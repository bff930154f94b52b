/**
 * What dead supervisors left: their containers' processes, cgroups, state folders and, for --rm, writable layers. Every
 * command does this for itself at its start, `tinyctr cleanup` tells of it. Host side.
 */

import { cgroupRoot, killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { listStates, type RunState, removeUnborn, StateFolder } from '../lifecycle/state.ts';
import { readRecord, removeContainer, writeRecord } from './containers.ts';
import { isLimit } from './limit-name.ts';

/** Returns the ids of the containers that were cleaned up. A living container's lock keeps us away from it. */
export async function cleanup(root: string, runRoot: string): Promise<string[]> {
  removeUnborn(runRoot);
  const cleaned: string[] = [];
  for (const id of listStates(runRoot)) {
    const folder = StateFolder.adopt(runRoot, id);
    if (!folder) continue;
    const state = readState(folder, id, root);
    const cgroup = `${cgroupRoot()}${state.cgroup}`;
    killCgroup(cgroup);
    await removeCgroup(cgroup);
    if (!isLimit(id)) endRecord(state, id);
    folder.remove();
    cleaned.push(id);
  }
  return cleaned;
}

/** A damaged file is no reason for every command to fail: what it would say can be told from the id, but for --rm. */
function readState(folder: StateFolder, id: string, root: string): Pick<RunState, 'cgroup' | 'root' | 'remove'> {
  try {
    return folder.read();
  } catch {
    return { cgroup: `/tinyctr/${id}`, root, remove: false };
  }
}

function endRecord({ root, remove }: Pick<RunState, 'root' | 'remove'>, id: string): void {
  if (remove || !readRecord(root, id)) removeContainer(root, id);
  else markKilled(root, id);
}

function markKilled(root: string, id: string): void {
  const record = readRecord(root, id);
  if (record && !record.ended) writeRecord(root, { ...record, ended: { at: new Date().toISOString(), exitCode: 137 } });
}
