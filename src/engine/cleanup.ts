/**
 * What dead supervisors left: their containers' processes, cgroups, state folders and, for --rm, writable layers. Every
 * command does this for itself at its start, `tinyctr cleanup` tells of it. Host side.
 */

import { cgroupRoot, killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { listStates, readRunState, removeUnborn, StateFolder } from '../lifecycle/state.ts';
import { isLimit } from './limit-name.ts';
import { endRecord } from './remove-container.ts';

/**
 * A living container's lock keeps us away from it. What can't be undone keeps its state folder, for `tinyctr cleanup` to
 * tell, and stops nobody; `failed` is given the reasons.
 */
export async function cleanup(root: string, runRoot: string, failed: unknown[] = []): Promise<void> {
  removeUnborn(runRoot);
  for (const id of listStates(runRoot))
    try {
      cleanupOne(root, runRoot, id);
    } catch (error) {
      failed.push(error);
    }
}

/** Nothing, if somebody runs it. `remove`: its end need not be written down. What a damaged state would say can be told from the id, but for --rm. */
export function cleanupOne(root: string, runRoot: string, id: string, remove = false): void {
  const folder = StateFolder.adopt(runRoot, id);
  if (folder === undefined) return;
  try {
    const state = readRunState(runRoot, id)!;
    const cgroup = `${cgroupRoot()}${state.cgroup}`;
    killCgroup(cgroup);
    removeCgroup(cgroup);
    if (!isLimit(id)) endRecord(state.root || root, id, remove || state.remove, state.ended);
  } catch (error) {
    folder.release();
    throw error;
  }
  folder.remove(); // last: while it is there, the next command knows
}
