/**
 * A pid and a mount namespace around the whole comparison: whatever happens to it, also SIGKILL, all its processes and mounts are gone
 * with it. The outer half starts this program once more inside, the inner half makes the view that both runtimes get. Host side.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { sendSignal } from '../../core/host/child.ts';
import { readMountinfo } from '../../core/host/mountinfo.ts';
import { spawnStage } from '../../core/host/spawn.ts';
import { nativeFolder, syscall } from '../../core/host/syscall.ts';
import * as k from '../../core/kernel/constants.ts';
import { type HostFd, Stage } from '../../core/stage/stage.ts';
import { exitCode, forwarded } from '../../engine/foreground.ts';
import { catchSignals, waitForExit } from '../../engine/wait.ts';

/** MS_NOSUID | MS_NODEV | MS_NOEXEC; mount(2). */
const SECURE = 0xe;

/** Runs `words` after this program's own name in new namespaces. Returns the exit status. */
export async function runInNamespaces(words: readonly string[]): Promise<number> {
  const caught = catchSignals(forwarded);
  const nothing = openSync('/dev/null', 'r') as HostFd; // init would make itself the terminal's foreground group
  const stdio = [nothing, 1 as HostFd, 2 as HostFd] as const;
  const { wire, pidfd } = spawnStage({ namespaces: k.CLONE_NEWNS | k.CLONE_NEWPID, stdio });
  try {
    wire.handshake();
    const stage = new Stage(wire);
    const node = [process.execPath, '--', process.argv[1]!, ...words];
    const { TINYCTR_EXTRA_CA_CERTS: _, ...environment } = process.env;
    stage.step({ id: 'exec', why: 'the init reaps what containers leave, and hands signals on', see: ['execve(2)'] });
    stage.hold();
    stage.execve(
      `${nativeFolder}/init`,
      ['init', process.execPath, ...node],
      Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    );
  } finally {
    wire.close();
    closeSync(nothing);
  }
  const forward = (signal: number) => {
    if (!((signal === k.SIGINT || signal === k.SIGQUIT) && inForeground())) sendSignal(pidfd, signal);
  };
  const status = exitCode(await waitForExit(pidfd, caught, forward, false));
  closeSync(pidfd);
  return status;
}

/** Then init has had the terminal's signal already. Source: proc_pid_stat(5), pgrp and tpgid. */
function inForeground(): boolean {
  const text = readFileSync('/proc/self/stat', 'utf8');
  const [, , group, , , foreground] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}

/**
 * In the new namespaces: /proc shows their processes, `scratch` is a tmpfs, and /sys/fs/cgroup is cgroup v2 alone, because runc and
 * crun take a hybrid layout for cgroup v1. Returns what was changed for that, in words.
 */
export function enterView(scratch: string): string[] {
  syscall('mount', ['', '/', null, k.MS_REC | k.MS_PRIVATE, null]);
  syscall('mount', ['proc', '/proc', 'proc', SECURE, null]);
  syscall('mount', ['tinyctr-compare', scratch, 'tmpfs', 0, 'mode=711']);
  const own = readMountinfo('self').findLast(({ mountPoint }) => mountPoint === '/sys/fs/cgroup');
  if (own?.fstype === 'cgroup2') return [];
  if (own) syscall('umount2', ['/sys/fs/cgroup', k.MNT_DETACH]);
  syscall('mount', ['cgroup2', '/sys/fs/cgroup', 'cgroup2', SECURE, null]);
  return ['this host’s cgroup layout is hybrid: both runtimes were given a view of it that has cgroup v2 alone'];
}
