/** `delete`: cgroup and state of a container that has stopped; with force, of any. Host side. */
import { existsSync, readFileSync } from 'node:fs';
import { cgroupRoot, removeCgroup } from '../core/host/cgroup.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { type ContainerState, destroyContainer } from '../lifecycle/lifecycle.ts';
import { removeUnborn } from '../lifecycle/state.ts';
import type { Globals } from './globals.ts';
import { warn } from './log.ts';
import { frozenSpec, lockContainer } from './state.ts';

/** With force, an unknown id is no error: what was wanted is the case. */
export async function deleteContainer(globals: Globals, id: string, force: boolean): Promise<void> {
  const { root } = globals;
  removeUnborn(root);
  let found: ReturnType<typeof lockContainer>;
  try {
    found = lockContainer(root, id);
  } catch (error) {
    if (force && error instanceof ContainerError && error.message === 'container does not exist') return;
    throw error;
  }
  const { state, status, lock } = found;
  try {
    if (force) destroyContainer(state);
    else if (status !== 'stopped')
      throw new ContainerError(`cannot delete container ${id} that is not stopped: ${status}`, {
        hint: `tinyctr-oci delete --force ${id} kills it first`,
      });
    else removeEmptyCgroup(cgroupRoot() + state.cgroup, id);
    await poststop(globals, lock.path, state);
  } catch (error) {
    lock.release();
    throw error;
  }
  lock.remove();
}

/** Before the state goes: if this process dies on the way, the next delete runs them again. */
export async function poststop(globals: Globals, folder: string, state: ContainerState): Promise<void> {
  const spec = frozenSpec(folder);
  if (!spec.hooks?.poststop) return;
  const { runPoststopHooks } = await import('./hooks.ts');
  runPoststopHooks(spec, state, (message) => warn(globals, message));
}

/** Where the pid namespace is shared, others may have outlived the container's process: without force nothing is killed. */
function removeEmptyCgroup(cgroup: string, id: string): void {
  const events = existsSync(cgroup) ? readFileSync(`${cgroup}/cgroup.events`, 'utf8') : '';
  if (/^populated 1$/m.test(events))
    throw new ContainerError(`cannot delete container ${id}: processes of it are still alive`, {
      hint: `tinyctr-oci kill --all ${id} KILL, or delete --force`,
    });
  removeCgroup(cgroup);
}
