/** A shell in a container that is only half built: the host's as long as its root is the host's, then the image's. Host side. */
import { closeSync, constants, openSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { type ExecTarget, exec } from '../core/container/exec.ts';
import { rawSyscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { openHow } from '../core/kernel/structs.ts';
import { allCapabilities, capabilitiesIn } from '../core/plan/capabilities.ts';
import { planExec } from '../core/plan/container.ts';
import type { ExecPlan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { exitCode, openStdio, superviseForeground } from './foreground.ts';
import { isTerminal, windowSize } from './terminal.ts';

/** The process that is becoming the container's. */
export interface HalfBuilt {
  pid: number;
  /** Proven to be it; borrowed. */
  pidfd: HostFd;
  /** The cgroup's folder. */
  cgroup: string;
  /** What the container's command is going to have. */
  capabilities: bigint;
  /** For the prompt. */
  step: string;
}

const shells = ['/bin/sh', '/bin/bash', '/bin/ash', '/bin/dash'];

/** Returns the shell's exit status. @throws ContainerError where there is no shell */
export async function enterHalfBuilt(half: HalfBuilt): Promise<number> {
  const terminal = isTerminal(0) && isTerminal(1);
  const plan = planShell(half, terminal);
  const root = inOtherUserNamespace(half.pid) ? { root: rootOf(half.pid) } : undefined;
  const target: ExecTarget = { hostPid: half.pid, pidfd: half.pidfd, cgroup: half.cgroup, user: root };
  const stdio = openStdio(!terminal);
  const supervise = superviseForeground(false);
  let container: Awaited<ReturnType<typeof exec>>;
  try {
    container = await exec(plan, target, { stdio: stdio.fds });
  } catch (error) {
    stdio.discard();
    throw error;
  }
  const relaying = await stdio.handOver();
  const detach = container.terminal && (await import('./relay.ts')).attachTerminal(container.terminal, true);
  const status = await supervise(container.pidfd, relaying || detach !== undefined);
  await detach?.();
  await stdio.drained(1000);
  return exitCode(status);
}

/**
 * A shell of the host's has all that the stage has, to look around; one of the image's is a program of somebody else's, and
 * gets no more than the container's command will.
 */
function planShell({ pid, capabilities, step }: HalfBuilt, terminal: boolean): ExecPlan {
  const ofHost = sameFile(`/proc/${pid}/root/`, '/');
  const chroot = readlinkSync(`/proc/${pid}/root`); // setns goes to the root of the mount namespace
  const shell = findShell(pid, ofHost);
  const own = inOtherUserNamespace(pid) ? allCapabilities : permittedCapabilities();
  const names = capabilitiesIn(ofHost ? own : own & capabilities);
  return planExec(
    {
      terminal,
      user: { uid: 0, gid: 0 },
      cwd: '/',
      args: chroot === '/' ? [shell] : ['chroot', chroot, shell],
      env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'HOME=/root',
        `TERM=${process.env.TERM ?? 'xterm'}`,
        `PS1=${ofHost ? 'host’s' : 'image’s'} root, ${step} # `,
      ],
      capabilities: { bounding: names, effective: names, permitted: names },
      noNewPrivileges: !ofHost,
    },
    terminal ? { terminal: windowSize(1 as HostFd) } : {},
    { permittedCapabilities: own },
  );
}

/** Looked for where the process would find it. @throws ContainerError */
function findShell(pid: number, ofHost: boolean): string {
  const root = openSync(`/proc/${pid}/root/`, constants.O_DIRECTORY) as HostFd;
  const how = openHow(k.O_PATH | k.O_CLOEXEC, 0, k.RESOLVE_IN_ROOT);
  try {
    for (const path of shells) {
      const fd = rawSyscall('openat2', root, path, how, how.length);
      if (fd < 0) continue;
      closeSync(fd);
      return path;
    }
  } finally {
    closeSync(root);
  }
  throw new ContainerError(`there is no shell in ${ofHost ? 'the host’s root' : 'the image'}: ${shells.join(', ')}`, {
    hint: `nsenter -t ${pid} -u -i -n has a look with the host’s programs`,
  });
}

function sameFile(a: string, b: string): boolean {
  const [one, other] = [statSync(a), statSync(b)];
  return one.dev === other.dev && one.ino === other.ino;
}

const inOtherUserNamespace = (pid: number): boolean => !sameFile(`/proc/${pid}/ns/user`, '/proc/self/ns/user');

/** Who the root of its user namespace is outside. Source: user_namespaces(7), /proc/pid/uid_map. */
function rootOf(pid: number): { uid: number; gid: number } {
  const root = (file: string) => Number(/^ *0 +(\d+)/m.exec(readFileSync(`/proc/${pid}/${file}`, 'utf8'))?.[1] ?? 0);
  return { uid: root('uid_map'), gid: root('gid_map') };
}

/** CapPrm of /proc/self/status. */
function permittedCapabilities(): bigint {
  return BigInt(`0x${/^CapPrm:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]}`);
}
