/** The container's terminal: a pair of the container's own devpts, the master end on its way to the host (SEC-06). */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { HostFd, Stage, StageFd } from '../stage/stage.ts';
import { ensureTarget, NO_LINKS, resolveInRoot } from './resolve.ts';

export interface Terminal {
  /** The container's end. */
  peer: StageFd;
  /** Owned by the host's side. */
  master: HostFd;
}

export function openTerminal(stage: Stage, root: StageFd, size: { rows: number; columns: number }): Terminal {
  stage.step({
    id: 'terminal',
    why: 'the terminal comes from the container’s devpts, its other end from the terminal itself, not from a path the image could have prepared',
    without: 'a link in the image could put another file in the place of /dev/console',
    see: ['pts(4)', 'TIOCGPTPEER(2const)', 'CVE-2025-52565'],
    explain: (error) =>
      error.code === 'ELOOP'
        ? new ContainerError('/dev/console or /dev/pts in the container leads through a symbolic link: refused', {
            cause: error,
          })
        : undefined,
  });
  const ptmx = resolveInRoot(stage, root, '/dev/pts/ptmx', k.O_RDWR | k.O_NOCTTY, NO_LINKS);
  if (!stage.exists(ptmx) || stage.fstatfs_type(ptmx) !== k.DEVPTS_SUPER_MAGIC)
    throw new ContainerError('a terminal needs a devpts on /dev/pts in the container');
  stage.unlockpt(ptmx);
  if (size.rows > 0 && size.columns > 0) stage.tiocswinsz(ptmx, size.rows, size.columns);
  const peer = stage.tiocgptpeer(ptmx);
  const master = stage.send_fd(ptmx);
  stage.close(ptmx);
  return { peer, master };
}

/** The terminal of the container's first process is its /dev/console. Source: config-linux.md, "Default Devices". */
export function mountConsole(stage: Stage, root: StageFd, { peer }: Terminal): void {
  const console = ensureTarget(stage, root, '/dev/console', 'file', NO_LINKS);
  const copy = stage.clone(peer);
  stage.move_mount(copy, console);
  for (const fd of [copy, console]) stage.close(fd);
}
