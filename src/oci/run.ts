/** `run` in the foreground: from a bundle to its exit status. Host side. */

import type { RunningContainer } from '../core/container/launch.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { exitCode, openStdio, superviseForeground } from '../engine/foreground.ts';
import { isTerminal, windowSize } from '../engine/terminal.ts';
import { type ContainerState, destroyContainer } from '../lifecycle/lifecycle.ts';
import { StateFolder } from '../lifecycle/state.ts';
import { launchPrepared, prepare } from './construct.ts';
import { type CreateRequest, undo } from './create.ts';
import { poststop } from './delete.ts';
import { pidfdReceiver, preservedFds, writePidFile } from './descriptors.ts';
import type { Globals } from './globals.ts';

/** Returns the exit status of the container's process, 128 plus the number of a signal that ended it. */
export async function runContainer(
  globals: Globals,
  id: string,
  request: CreateRequest & { keep?: boolean },
): Promise<number> {
  if (request.consoleSocket !== undefined)
    throw new ContainerError('--console-socket is for containers that nobody attends: create, or run --detach');
  const preserved = preservedFds(request.preserveFds);
  const prepared = prepare(globals, id, request);
  const tty = prepared.plan.terminal !== undefined;
  if (tty && prepared.plan.terminal?.rows === 0) prepared.plan.terminal = windowSize(1 as HostFd);
  const stdio = openStdio(!tty);
  const tellPidfd = pidfdReceiver(request.pidfdSocket);
  const supervise = superviseForeground();
  let container: RunningContainer;
  try {
    container = await launchPrepared(globals, prepared, { stdio: stdio.fds, preserved }, false);
    try {
      tellPidfd?.(container.pidfd);
      if (request.pidFile !== undefined) writePidFile(request.pidFile, container.hostPid);
    } catch (error) {
      await undo(globals, prepared.lock);
      throw error;
    }
  } catch (error) {
    stdio.discard();
    prepared.lock.remove();
    throw error;
  }
  const { startTime } = prepared.lock.read();
  prepared.lock.release(); // others may kill or delete it while it runs
  const relaying = await stdio.handOver();
  const detach =
    container.terminal === undefined
      ? undefined
      : (await import('../engine/relay.ts')).attachTerminal(container.terminal, isTerminal(0), { first: container });
  const status = await supervise(container.pidfd, relaying || detach !== undefined);
  await cleanUp(globals, { id, pid: container.hostPid, startTime }, request.keep ?? false);
  await detach?.();
  await stdio.drained();
  return exitCode(status);
}

type Identity = Pick<ContainerState, 'id' | 'pid' | 'startTime'>;

/** Unless somebody has deleted it already, and perhaps made another one of this name. */
async function cleanUp(globals: Globals, { id, pid, startTime }: Identity, keep: boolean): Promise<void> {
  const again = StateFolder.adopt<ContainerState>(globals.root, id, true);
  if (!again) return;
  const state = again.read();
  if (state.pid !== pid || state.startTime !== startTime) return again.release();
  destroyContainer(state); // in a pid namespace that is not its own, others may have outlived it
  if (keep) return again.release();
  await poststop(globals, again.path, state);
  again.remove();
}
