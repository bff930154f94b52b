/**
 * Who answers the calls that a seccomp profile gives SCMP_ACT_NOTIFY: an agent of somebody else's. It listens at a socket, and is
 * sent the filter's listener with what it is to know of the process. Host side. Source: config-linux.md "Seccomp", "The Container
 * Process State"; seccomp_unotify(2).
 */
import { closeSync, statSync } from 'node:fs';
import { shim, syscall } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { MAX_DESCRIPTORS } from '../core/stage/protocol.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { type ContainerState, openProcess } from '../lifecycle/lifecycle.ts';
import type { Seccomp } from '../spec/types.ts';
import { connectSocket, sendDescriptor } from './descriptors.ts';
import { specVersion } from './globals.ts';

/** Takes over the listener of a process's filter: the agent alone has it afterwards. */
export type ToAgent = (listener: HostFd, hostPid: number) => void;

const at = { specPointer: '/linux/seccomp/listenerPath' };
const nameOf = ({ listenerPath }: Seccomp) => `seccomp agent at ${listenerPath}`;

/** Without a word to the agent, who would take it for a container: early, and not for certain. */
export function expectAgent(seccomp: Seccomp): void {
  if (!statSync(seccomp.listenerPath!, { throwIfNoEntry: false })?.isSocket())
    throw new ContainerError(`failed to connect with ${nameOf(seccomp)}: there is no socket`, at);
}

/** Just before the filter is loaded, so that nobody there is an error while nothing of the program has run. */
export function connectAgent(seccomp: Seccomp, state: ContainerState, status: 'created' | 'running'): ToAgent {
  const socket = connectSocket(seccomp.listenerPath!, nameOf(seccomp), at.specPointer);
  return (listener, hostPid) => {
    try {
      sendDescriptor(socket, processState(seccomp, state, status, hostPid), listener);
    } finally {
      for (const fd of [listener, socket]) closeSync(fd);
    }
  };
}

function processState(
  { listenerMetadata }: Seccomp,
  { id, bundle, annotations, pid }: ContainerState,
  status: string,
  hostPid: number,
): string {
  const state = { ociVersion: specVersion, id, status, pid, bundle, annotations };
  const metadata = listenerMetadata ? { metadata: listenerMetadata } : {};
  return JSON.stringify({ ociVersion: specVersion, fds: ['seccompFd'], pid: hostPid, ...metadata, state });
}

/** The end of a created container's outbox that its listener will arrive at, taken while the stage waits at its gate; pidfd_getfd(2). */
export function fetchOutbox(state: ContainerState): HostFd {
  const pidfd = openProcess(state);
  if (pidfd === undefined) throw new ContainerError('the container ended before it could be started');
  try {
    return syscall('pidfd_getfd', [pidfd, state.last!.listener!, 0]) as HostFd;
  } finally {
    closeSync(pidfd);
  }
}

/** Waits for the listener, and hands it on. Nothing arrives where the last frame fails before. Closes the outbox. */
export function forwardListener(outbox: HostFd, hostPid: number, send: ToAgent): void {
  const fds = new Int32Array(MAX_DESCRIPTORS);
  const count = new Int32Array(1);
  shim('tinyctr_receive', [outbox, Buffer.alloc(1), 1, fds, MAX_DESCRIPTORS, count]);
  closeSync(outbox);
  if (count[0] === 1) send(fds[0] as HostFd, hostPid);
}
