/** `start`: opens the gate and waits until the container's program has taken the stage's place. Host side. */
import { rmSync } from 'node:fs';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { openGate, type Status } from '../lifecycle/lifecycle.ts';
import { lockContainer } from './state.ts';

/** Errors of the last frame come out here: the command that can't be executed, a filter that forbids what follows. */
export function startContainer(root: string, id: string): void {
  const { folder, state, status, lock } = lockContainer(root, id);
  try {
    if (status !== 'created') throw wrongState(status);
    openGate(folder, state);
    rmSync(`${folder}/gate`);
  } catch (error) {
    throw explained(error);
  } finally {
    lock.release();
  }
}

function wrongState(status: Status): ContainerError {
  if (status === 'stopped') return new ContainerError('cannot start a container that has stopped');
  if (status === 'running') return new ContainerError('cannot start an already running container');
  return new ContainerError(`cannot start a container in the ${status} state`);
}

function explained(error: unknown): unknown {
  if (!(error instanceof SyscallError) || error.facts.syscall !== 'execve') return error;
  const path = /^execve\(("(?:[^"\\]|\\.)*")/.exec(error.facts.call)?.[1] ?? 'the command';
  return new ContainerError(`exec: ${path}: ${errnoText(error.facts.errno)}`, {
    cause: error,
    hint: error.code === 'ENOENT' ? 'the file is there: its interpreter is not' : undefined,
  });
}
