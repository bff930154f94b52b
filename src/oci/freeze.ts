/** `pause` and `resume`: the cgroup's freezer. Host side. Source: the kernel's cgroup-v2.rst, cgroup.freeze. */
import { readFileSync, writeFileSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { lockContainer } from './state.ts';

/** Returns when every process has stopped, or may run again. */
export async function setFrozen(root: string, id: string, frozen: boolean): Promise<void> {
  const { state, status, lock } = lockContainer(root, id);
  try {
    if (frozen && status !== 'running' && status !== 'created')
      throw new ContainerError(`container not running: ${status}`);
    if (!frozen && status !== 'paused') throw new ContainerError(`container not paused: ${status}`);
    const cgroup = cgroupRoot() + state.cgroup;
    writeFileSync(`${cgroup}/cgroup.freeze`, frozen ? '1' : '0');
    const wanted = new RegExp(`^frozen ${frozen ? 1 : 0}$`, 'm');
    for (let waitMs = 1; !wanted.test(readFileSync(`${cgroup}/cgroup.events`, 'utf8')); waitMs *= 2) {
      if (waitMs > 4096) throw new ContainerError('the kernel has not frozen every process within eight seconds');
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  } finally {
    lock.release();
  }
}
