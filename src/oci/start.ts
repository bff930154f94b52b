/** `start`: opens the gate and waits until the container's program has taken the stage's place. Host side. */
import { rmSync } from 'node:fs';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { type ContainerState, killProcess, openGate, type Status } from '../lifecycle/lifecycle.ts';
import type { Spec } from '../spec/types.ts';
import type { Globals } from './globals.ts';
import { frozenSpec, lockContainer } from './state.ts';

/** Errors of the last frame come out here: the command that can't be executed, a filter that forbids what follows. */
export async function startContainer({ root }: Globals, id: string): Promise<void> {
  const { folder, state, status, lock } = lockContainer(root, id);
  try {
    if (status !== 'created') throw wrongState(status);
    const spec = frozenSpec(folder);
    if (spec.hooks) await startWithHooks(root, folder, state, spec);
    else openGate(folder, state);
    rmSync(`${folder}/gate`);
  } catch (error) {
    throw explained(error);
  } finally {
    lock.release();
  }
}

/** runtime.md, steps 7 and 9: a hook that fails ends the container. */
async function startWithHooks(root: string, folder: string, state: ContainerState, spec: Spec): Promise<void> {
  const hooks = await import('./hooks.ts');
  try {
    if (spec.hooks?.startContainer) {
      const { permittedCapabilities, planBundle } = await import('./plan.ts');
      const bundle = { path: state.bundle, spec, rootfs: state.rootfs };
      hooks.runStartHooks(spec, state, planBundle(bundle, state.id, root, permittedCapabilities()).process);
    }
    openGate(folder, state);
    hooks.runPoststartHooks(spec, state);
  } catch (error) {
    killProcess(state);
    throw error;
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
