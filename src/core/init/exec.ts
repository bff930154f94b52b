/**
 * The other sequence: from a process in the container's cgroup and pid namespace to one more process of the container.
 * Host side, but every `stage.` line is one system call of that process. It reaches it through the stage only.
 */
import * as k from '../kernel/constants.ts';
import type { ExecPlan } from '../plan/plan.ts';
import type { HostFd, Stage } from '../stage/stage.ts';
import { findCommand } from './command.ts';
import { openTerminal } from './console.ts';
import type { Ready } from './container.ts';
import { enterDirectory } from './directory.ts';
import { writeProc } from './proc.ts';
import { becomeProcess } from './process.ts';
import { lookUpUser } from './user.ts';

export interface ExecInput {
  /** A pidfd of the container's first process. */
  target: HostFd;
  /** CLONE_NEW* of the namespaces that are not the host's. */
  namespaces: number;
  /** Inherited pipes among 0, 1, 2 that become the user's. */
  pipes: readonly number[];
  /** Become 3 and up. */
  preserved: readonly HostFd[];
  /** It goes on when the runtime ends. */
  outlives: boolean;
}

/** Returns when the process is the container's own. Throws SyscallError and ContainerError; then the stage still answers. */
export function execProcess(stage: Stage, plan: ExecPlan, input: ExecInput, ready: Ready): void {
  stage.step({
    id: 'protect',
    why: 'the container’s processes see this one already: none may attach to it with ptrace or read its descriptors',
    without: 'a process of the container could take over one that still has the host’s root and all capabilities',
    see: ['PR_SET_DUMPABLE(2const)', 'CVE-2016-9962'],
  });
  stage.set_undumpable();
  const [target] = stage.receive_fds([input.target]);
  const preserved = stage.receive_fds(input.preserved);
  // Before the namespaces: behind the container's masks a user namespace may not mount a procfs.
  writeProc(stage, [], plan.process);
  for (const { resource, hard } of plan.process.rlimits) stage.raise_hard_limit(resource, hard);

  stage.step({
    id: 'namespaces.enter',
    why: 'all namespaces of the container’s first process at once, the user namespace first; root and working directory become its own',
    without: 'between two of them the process would be half of the host and half of the container',
    see: ['setns(2): PID file descriptors', 'pid_namespaces(7)'],
  });
  stage.setns(target!, input.namespaces);
  stage.close(target!);

  stage.step({
    id: 'user.root',
    why: 'the host’s root is nobody in a user namespace; what follows is done by root of that namespace',
    see: ['user_namespaces(7)'],
  });
  if (input.namespaces & k.CLONE_NEWUSER) {
    stage.setresgid(0);
    stage.setresuid(0);
  }

  const root = stage.openat2(k.AT_FDCWD, '/', k.O_PATH | k.O_DIRECTORY, 0);
  const terminal = plan.terminal && openTerminal(stage, root, plan.terminal);
  const user = lookUpUser(stage, root, plan.process.user);
  enterDirectory(stage, plan.process);
  const command = findCommand(stage, plan.process, user);
  const { pipes, outlives } = input;
  const process = { plan: plan.process, user, command, terminal, pipes, preserved, outlives };
  becomeProcess(stage, process, () => ready(terminal?.master));
}
