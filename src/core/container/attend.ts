/** A stage between its birth and the moment when the process is the container's own, or is no more. Host side. */
import { closeSync, fchownSync, fstatSync } from 'node:fs';
import { destroy } from '../host/child.ts';
import type { SpawnedStage } from '../host/spawn.ts';
import { syscall } from '../host/syscall.ts';
import type { Ready } from '../init/container.ts';
import type { NamespacePlan } from '../plan/plan.ts';
import { type HostFd, type LastFrame, type Observer, Stage } from '../stage/stage.ts';

export interface AttendedProcess {
  hostPid: number;
  /** Owned by the caller; the process is this one's child. */
  pidfd: HostFd;
  /** The terminal's master end, owned by the caller. */
  terminal: HostFd | undefined;
  /** What a created container has yet to do. */
  last: LastFrame | undefined;
}

interface Attention {
  observer?: Observer | undefined;
  /** Called with its pid before anything can go wrong. */
  born?: ((hostPid: number) => void) | undefined;
  /** Takes over the listener of the seccomp filter, if that has one. */
  listener?: ((fd: HostFd, hostPid: number) => void) | undefined;
  /** Says better why it failed, while the stage still stands. */
  explain?: ((error: unknown, hostPid: number) => Promise<unknown>) | undefined;
}

/** Carries out `sequence`, in which a child of the stage's may take its place (`forked`), which ends in execve. When it throws, the process is killed and reaped, and no descriptor is left. */
export async function attend(
  { hostPid, pidfd, wire }: SpawnedStage,
  { observer, born, listener, explain }: Attention,
  sequence: (stage: Stage, ready: Ready, forked: (childPid: number) => void) => void,
): Promise<AttendedProcess> {
  const stage = new Stage(wire);
  stage.observer = observer;
  stage.listener = (fd) => listener?.(fd, hostPid);
  let terminal: HostFd | undefined;
  try {
    born?.(hostPid);
    wire.handshake();
    const ready: Ready = (master) => {
      terminal = master;
    };
    sequence(stage, ready, (childPid) => {
      const child = syscall('pidfd_open', [childPid, 0]) as HostFd;
      destroy(pidfd);
      [hostPid, pidfd] = [childPid, child];
      wire.handshake(); // its answer to the call that made it
      born?.(hostPid);
    });
    return { hostPid, pidfd, terminal, last: stage.last };
  } catch (error) {
    const explained = (await explain?.(error, hostPid)) ?? error;
    for (const fd of stage.received) closeSync(fd);
    destroy(pidfd);
    throw explained;
  } finally {
    wire.close();
  }
}

/** Which of 0, 1 and 2 are pipes: they become the user's, who in a user namespace gets them from its root. */
export function pipesOf(stdio: readonly HostFd[], user: NamespacePlan['user'] = undefined): number[] {
  const pipes = [0, 1, 2].filter((fd) => fstatSync(stdio[fd]!).isFIFO());
  if (user?.root) for (const fd of pipes) fchownSync(stdio[fd]!, user.root.uid, user.root.gid);
  return user && !user.root ? [] : pipes;
}
