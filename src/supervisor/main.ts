/**
 * The supervisor: one process for all detached containers of a run root, started by the keeper (native-shim/keeper.c) when it is
 * wanted, gone when there is nothing to do. Killed, it loses nothing: what counts is on disk, or the keeper has it.
 */
import { syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { cleanup } from '../engine/cleanup.ts';
import { Containers } from './containers.ts';
import { Keeper } from './keeper.ts';
import { serve } from './server.ts';

/** What the keeper gives: the listening socket, the way to it, its news. */
const [LISTENER, ORDERS, NEWS] = [3, 4, 5] as HostFd[] as [HostFd, HostFd, HostFd];
/** Whoever started it: what a container finds in /etc is to be readable for its users. */
const MASK = 0o022;
/** Nobody asked anything for so long, and nothing is to be done: it ends. */
const IDLE_MS = Number(process.env.TINYCTR_SUPERVISOR_IDLE_MS ?? 10_000);

/** `root`: where the containers are whose restart policies it looks after from its start on. */
async function main(runRoot: string, root: string): Promise<void> {
  process.umask(MASK);
  for (const fd of [LISTENER, ORDERS, NEWS]) syscall('fcntl', [fd, k.F_SETFD, k.FD_CLOEXEC]);
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined); // of a terminal that it was born at
  await cleanup(root, runRoot); // what a keeper that was killed has left: some of it may be to come back
  const containers = new Containers(root, runRoot, (listener) => new Keeper(ORDERS, NEWS, listener));
  containers.resume(root);
  let idle: NodeJS.Timeout | undefined;
  const server = serve(LISTENER, containers, () => rest());
  const rest = () => {
    clearTimeout(idle);
    idle = setTimeout(() => {
      server.getConnections((_, count) => {
        if (count === 0 && containers.isIdle) process.exit(0);
        rest();
      });
    }, IDLE_MS);
  };
  rest();
}

void main(process.argv[2]!, process.argv[3]!);
