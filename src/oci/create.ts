/** `create`: afterwards only the stage is left, 20 kB that wait as the container's process. Host side. */
import { closeSync } from 'node:fs';
import { setBlocking } from '../core/host/terminal.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { destroyContainer } from '../lifecycle/lifecycle.ts';
import { launchPrepared, prepare } from './construct.ts';
import { connectConsole, preservedFds, writePidFile } from './descriptors.ts';
import type { Globals } from './globals.ts';

export interface CreateRequest {
  bundle: string;
  pidFile?: string;
  consoleSocket?: string;
  preserveFds: number;
}

/** Returns when the container is created. Throws what went wrong; then nothing of it is left. */
export async function createContainer(globals: Globals, id: string, request: CreateRequest): Promise<void> {
  const preserved = preservedFds(request.preserveFds);
  const prepared = prepare(globals, id, request.bundle);
  const { plan, lock } = prepared;
  try {
    const socket = consoleFor(plan.terminal !== undefined, request.consoleSocket);
    const stdio = [0, 1, 2] as [HostFd, HostFd, HostFd];
    for (const fd of stdio) setBlocking(fd); // Node has made pipes of them non-blocking, for the container too
    const container = await launchPrepared(globals, prepared, { stdio, preserved }, true);
    closeSync(container.pidfd);
    try {
      if (container.terminal !== undefined) socket!.send(container.terminal);
      if (request.pidFile !== undefined) writePidFile(request.pidFile, container.hostPid);
    } catch (error) {
      await destroyContainer(lock.read());
      throw error;
    }
    lock.release();
  } catch (error) {
    lock.remove();
    throw error;
  }
}

/** A terminal outlives the caller only if somebody else gets its master end. */
function consoleFor(terminal: boolean, path: string | undefined): ReturnType<typeof connectConsole> | undefined {
  if (terminal && path === undefined)
    throw new ContainerError('process.terminal is true: a container that is not attended needs --console-socket', {
      specPointer: '/process/terminal',
    });
  if (!terminal && path !== undefined)
    throw new ContainerError('--console-socket is there, but process.terminal is not true', {
      specPointer: '/process/terminal',
    });
  return path === undefined ? undefined : connectConsole(path);
}
