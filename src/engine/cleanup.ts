/**
 * What dead supervisors left: their containers' processes, cgroups, state folders and, for --rm, writable layers. Every
 * command does this for itself at its start, `tinyctr cleanup` tells of it. Host side.
 */

import { cgroupRoot, killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { listStates, type RunState, removeUnborn, StateFolder } from '../lifecycle/state.ts';
import { endRecord } from './containers.ts';
import { isLimit } from './limit-name.ts';

/**
 * A living container's lock keeps us away from it. What can't be undone keeps its state folder, for `tinyctr cleanup` to
 * tell, and stops nobody; `failed` is given the reasons.
 */
export async function cleanup(root: string, runRoot: string, failed: unknown[] = []): Promise<void> {
  removeUnborn(runRoot);
  for (const id of listStates(runRoot)) {
    const folder = StateFolder.adopt(runRoot, id);
    if (folder) await endOrphan(folder, id, root).catch((error) => failed.push(error));
  }
}

async function endOrphan(folder: StateFolder, id: string, root: string): Promise<void> {
  try {
    const state = readState(folder, id, root);
    const cgroup = `${cgroupRoot()}${state.cgroup}`;
    killCgroup(cgroup);
    removeCgroup(cgroup);
    if (!isLimit(id)) endRecord(state.root, id, state.remove);
  } catch (error) {
    folder.release();
    throw error;
  }
  folder.remove(); // last: while it is there, the next command knows
}

/** A damaged file is no reason for every command to fail: what it would say can be told from the id, but for --rm. */
export function readState(folder: StateFolder, id: string, root: string): Pick<RunState, 'cgroup' | 'root' | 'remove'> {
  try {
    return folder.read();
  } catch {
    return { cgroup: `/tinyctr/${id}`, root, remove: false };
  }
}
