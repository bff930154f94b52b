/** Gives birth to a stage: clone3 in new namespaces and a cgroup, the program from a sealed memfd. Host side, main thread only. */
import { closeSync, readFileSync } from 'node:fs';
import * as k from '../kernel/constants.ts';
import { SyscallError } from '../kernel/error.ts';
import type { HostFd } from '../stage/stage.ts';
import { nativeFolder, shim } from './syscall.ts';
import { memfd, SocketWire, sealedProgram, socketPair } from './wire.ts';

export interface SpawnOptions {
  /** CLONE_NEW* of clone3(2). */
  namespaces: number;
  /** CLONE_PARENT. */
  sibling?: boolean;
  /** The directory of the cgroup that the stage is born in (CLONE_INTO_CGROUP); borrowed. */
  cgroupFd?: HostFd;
  /** Host descriptors that become 0, 1 and 2 of the container; borrowed. */
  stdio: readonly [HostFd, HostFd, HostFd];
  /** A file of a page that the stage notes its calls in, in place of a memfd: for those who look later. Owned by the wire. */
  page?: HostFd;
}

export interface SpawnedStage {
  hostPid: number;
  /** Owned by the caller. */
  pidfd: HostFd;
  /** Owned by the caller, who begins with its handshake. */
  wire: SocketWire;
}

/** Throws SyscallError of clone3: EPERM without CAP_SYS_ADMIN, ENOSPC beyond the limits of namespaces(7), EBUSY and EOPNOTSUPP for the cgroup. */
export function spawnStage(options: SpawnOptions): SpawnedStage {
  const program = sealedProgram('stage', readFileSync(`${nativeFolder}/stage`));
  const [ours, theirs] = socketPair();
  const page = options.page ?? memfd('stage-page', 4096);
  const fds = Int32Array.of(...options.stdio, theirs, page);
  const pidfd = new Int32Array(1);
  const flags = options.namespaces | (options.sibling ? k.CLONE_PARENT : 0);
  const args = [flags, options.cgroupFd ?? -1, program, fds, 5, pidfd];
  const hostPid = shim('tinyctr_spawn', args);
  closeSync(program);
  closeSync(theirs);
  const wire = new SocketWire(ours, page);
  if (hostPid < 0) {
    wire.close();
    const call = `clone3({flags=0x${flags.toString(16)}})`;
    throw new SyscallError({ syscall: 'clone3', call, errno: -hostPid, side: 'host' });
  }
  return { hostPid, pidfd: pidfd[0] as HostFd, wire };
}
