/** `delete`: cgroup and state of a container that has stopped or never ran; with force, of any. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { type ContainerState, destroyContainer } from '../lifecycle/lifecycle.ts';
import { removeUnborn } from '../lifecycle/state.ts';
import type { Globals } from './globals.ts';
import { warn } from './log.ts';
import { frozenSpec, lockContainer } from './state.ts';

/** Whoever was only created is killed, as by runc and crun. With force, an unknown id is no error: what was wanted is the case. */
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
    if (!force && status !== 'stopped' && status !== 'created')
      throw new ContainerError(`cannot delete container ${id} that is not stopped: ${status}`, {
        hint: `tinyctr-oci delete --force ${id} kills it first`,
      });
    destroyContainer(state); // where the pid namespace is shared, others may have outlived its process
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
