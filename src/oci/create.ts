/** `create`: afterwards only the stage is left, 20 kB that wait as the container's process. Host side. */
import { closeSync } from 'node:fs';
import type { HostFd } from '../core/stage/stage.ts';
import { setBlocking } from '../engine/wait.ts';
import { destroyContainer } from '../lifecycle/lifecycle.ts';
import type { BundleRequest } from './config.ts';
import { launchPrepared, type Prepared, prepare } from './construct.ts';
import { poststop } from './delete.ts';
import { consoleFor, pidfdReceiver, preservedFds, writePidFile } from './descriptors.ts';
import type { Globals } from './globals.ts';

export interface CreateRequest extends BundleRequest {
  pidFile?: string;
  consoleSocket?: string;
  pidfdSocket?: string;
  preserveFds: number;
}

/** Returns when the container is created. Throws what went wrong; then nothing of it is left. */
export async function createContainer(globals: Globals, id: string, request: CreateRequest): Promise<void> {
  const preserved = preservedFds(request.preserveFds);
  const prepared = prepare(globals, id, request);
  const { plan, lock } = prepared;
  try {
    const socket = consoleFor(plan.terminal !== undefined, true, request.consoleSocket);
    const tellPidfd = pidfdReceiver(request.pidfdSocket);
    const stdio = [0, 1, 2] as [HostFd, HostFd, HostFd];
    for (const fd of stdio) setBlocking(fd); // Node has made pipes of them non-blocking, for the container too
    const container = await launchPrepared(globals, prepared, { stdio, preserved }, true);
    try {
      tellPidfd?.(container.pidfd);
      closeSync(container.pidfd);
      if (container.terminal !== undefined) socket!.send(container.terminal);
      if (request.pidFile !== undefined) writePidFile(request.pidFile, container.hostPid);
    } catch (error) {
      await undo(globals, lock);
      throw error;
    }
    lock.release();
  } catch (error) {
    lock.remove();
    throw error;
  }
}

/** Ends what was launched, for a caller who can't be told of it. The state's folder is left to the caller. */
export async function undo(globals: Globals, lock: Prepared['lock']): Promise<void> {
  const state = lock.read();
  destroyContainer(state);
  await poststop(globals, lock.path, state);
}
