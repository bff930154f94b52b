/** `start`: opens the gate and waits until the container's program has taken the stage's place. Host side. */
import { rmSync } from 'node:fs';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { type ContainerState, killProcess, openGate, type Status } from '../lifecycle/lifecycle.ts';
import { notifies } from '../seccomp/rules.ts';
import type { Seccomp, Spec } from '../spec/types.ts';
import type { Globals } from './globals.ts';
import { frozenSpec, lockContainer } from './state.ts';

/** Errors of the last frame come out here: the command that can't be executed, a filter that forbids what follows. */
export async function startContainer({ root }: Globals, id: string): Promise<void> {
  const { folder, state, status, lock } = lockContainer(root, id);
  try {
    if (status !== 'created') throw wrongState(status);
    const spec = frozenSpec(folder);
    const { seccomp } = spec.linux ?? {};
    const open = notifies(seccomp) ? await gateWithAgent(folder, state, seccomp) : () => openGate(folder, state);
    if (spec.hooks) await startWithHooks(root, state, spec, open);
    else open();
    rmSync(`${folder}/gate`);
  } catch (error) {
    throw await explained(error);
  } finally {
    lock.release();
  }
}

/** The listener of the filter goes to the agent while the last frame is under way. Nobody there is an error before it has begun. */
async function gateWithAgent(folder: string, state: ContainerState, seccomp: Seccomp): Promise<() => void> {
  const { connectAgent, expectAgent, fetchOutbox, forwardListener } = await import('./seccomp-agent.ts');
  expectAgent(seccomp);
  const outbox = fetchOutbox(state);
  return () => {
    const send = connectAgent(seccomp, state, 'created');
    openGate(folder, state, () => {
      try {
        forwardListener(outbox, state.pid, send);
      } catch (error) {
        killProcess(state); // its program runs, and nobody answers it
        throw error;
      }
    });
  };
}

/** runtime.md, steps 7 and 9: a hook that fails ends the container. */
async function startWithHooks(root: string, state: ContainerState, spec: Spec, open: () => void): Promise<void> {
  const hooks = await import('./hooks.ts');
  try {
    if (spec.hooks?.startContainer) {
      const { permittedCapabilities, planBundle } = await import('./plan.ts');
      const bundle = { path: state.bundle, spec, rootfs: state.rootfs };
      const { process } = planBundle(bundle, state.id, root, permittedCapabilities());
      const { seccomp } = spec.linux ?? {};
      const agents = await import('./seccomp-agent.ts');
      hooks.runStartHooks(spec, state, process, () => agents.connectAgent(seccomp!, state, 'created'));
    }
    open();
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

async function explained(error: unknown): Promise<unknown> {
  if (!(error instanceof SyscallError) || error.facts.side !== 'stage') return error;
  if (error.facts.syscall === 'sendmsg') return (await import('../explain/failure.ts')).explainListener(error);
  if (error.facts.syscall !== 'execve') return error;
  const path = /^execve\(("(?:[^"\\]|\\.)*")/.exec(error.facts.call)?.[1] ?? '""';
  return new ContainerError(`exec ${JSON.parse(path)}: ${errnoText(error.facts.errno)}`, {
    hint: error.code === 'ENOENT' ? 'the file is there: its interpreter is not' : undefined,
  });
}
