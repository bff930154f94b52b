/** `pause` and `resume`: the cgroup's freezer. Host side. */
import { cgroupRoot } from '../core/host/cgroup.ts';
import { setFrozen } from '../core/host/freeze.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { readCgroupFile } from '../lifecycle/update.ts';
import { lockContainer } from './state.ts';

/** Returns when every process has stopped, or may run again. */
export function setPaused(root: string, id: string, paused: boolean): void {
  const { state, status, lock } = lockContainer(root, id);
  try {
    const cgroup = cgroupRoot() + state.cgroup;
    if (paused && status !== 'running' && status !== 'created')
      throw new ContainerError(`container not running: ${status}`);
    // A pause that was killed half way has frozen a part, or will have: it can be taken back.
    const halfway = status !== 'stopped' && readCgroupFile(cgroup, 'cgroup.freeze')?.startsWith('1');
    if (!paused && status !== 'paused' && !halfway) throw new ContainerError(`container not paused: ${status}`);
    setFrozen(cgroup, paused);
  } finally {
    lock.release();
  }
}
