/**
 * The last frame: from root with everything to the user with what the plan gives, then execve. It goes as one piece,
 * because once the filter is on the stage may not be able to answer; the shared page tells which call failed.
 */
import * as k from '../kernel/constants.ts';
import { CAP_SYS_ADMIN, capabilityNames } from '../plan/capabilities.ts';
import type { ProcessPlan, SchedulingPlan } from '../plan/plan.ts';
import { type Stage, StageFd } from '../stage/stage.ts';
import type { Command } from './command.ts';
import type { Terminal } from './console.ts';
import type { ContainerUser } from './user.ts';

const admin = 1n << BigInt(CAP_SYS_ADMIN);

export interface ProcessInput {
  plan: ProcessPlan;
  user: ContainerUser;
  command: Command;
  terminal?: Terminal | undefined;
  /** A program to execute in the command's place, which runs it and reaps. */
  init?: StageFd | undefined;
  pipes: readonly number[];
  /** Become 3 and up of the container. */
  preserved: readonly StageFd[];
  gate?: Gate | undefined;
  /** It goes on when the runtime that made it ends. */
  outlives?: boolean;
}

/** Where a created container waits for its start. */
export interface Gate {
  /** O_PATH descriptor of a FIFO of the host's. */
  fifo: StageFd;
  /** /proc/self/fd of the host's procfs: the container's own /proc is the image's business. */
  descriptors: StageFd;
  /** Both ends of a socket, if the filter has a listener: it is sent to the second, which who starts the container has fetched. */
  outbox: readonly StageFd[];
}

export function becomeProcess(stage: Stage, input: ProcessInput, ready: () => void): void {
  const { plan, user, command, init, preserved, gate, outlives } = input;
  const { bounding, effective, permitted, inheritable, ambient } = capabilitiesFor(plan, user);
  takeTerminal(stage, input);

  stage.step({
    id: 'rlimits',
    why: 'limits go first: raising a hard one needs CAP_SYS_RESOURCE',
    see: ['getrlimit(2)', 'config.md: rlimits'],
  });
  for (const { resource, soft, hard } of plan.rlimits) stage.prlimit64(resource, soft, hard);

  if (plan.scheduling) schedule(stage, plan.scheduling);

  stage.step({
    id: 'descriptors.preserved',
    why: 'descriptors that the caller hands on by --preserve-fds follow 0, 1 and 2',
    see: ['dup(2)', 'sd_listen_fds(3)'],
  });
  if (preserved.length > 0) stage.place_fds(preserved);

  const listens = plan.seccomp && plan.seccomp.flags & k.SECCOMP_FILTER_FLAG_NEW_LISTENER;
  const reserved = listens ? stage.reserve_fd() : undefined;
  ready();
  if (gate) waitAtGate(stage, gate);
  else stage.hold();

  stage.step({
    id: 'capabilities.bounding',
    why: 'what is not in the bounding set can’t come back by executing a file, not even one with setuid root',
    without: 'every exec as root would raise all capabilities again',
    see: ['capabilities(7)', 'PR_CAPBSET_DROP(2const)'],
  });
  for (let number = 0; number < capabilityNames.length; number++)
    if (!((bounding >> BigInt(number)) & 1n)) stage.capbset_drop(number);

  stage.step({
    id: 'user.become',
    why: 'groups before the user: afterwards the right to change them is gone. Keepcaps holds the capabilities across the change',
    without: 'the process would keep the host’s supplementary groups',
    see: ['setresuid(2)', 'setgroups(2)', 'PR_SET_KEEPCAPS(2const)'],
  });
  stage.set_keepcaps();
  stage.setresgid(user.gid);
  stage.setgroups(user.additionalGids);
  stage.setresuid(user.uid);
  stage.umask(plan.umask);

  stage.step({
    id: 'parent-death',
    why: 'the process ends with the runtime that supervises it; the change of user cleared this, so it is set again',
    see: ['PR_SET_PDEATHSIG(2const)'],
  });
  if (!gate) stage.set_pdeathsig(outlives ? 0 : k.SIGKILL);

  stage.step({
    id: 'descriptors',
    why: 'nothing but 0, 1 and 2, and what was asked for, survives the exec',
    without: 'a descriptor of a host directory would be a way out',
    see: ['close_range(2)', 'CVE-2024-21626'],
  });
  stage.close_range_cloexec(3 + preserved.length);

  const filter = () => {
    stage.step({
      id: 'seccomp',
      why: 'system calls that a container has no business with are refused from here on',
      without: 'the whole interface of the kernel is there to be attacked',
      see: ['seccomp(2)', 'config-linux.md: Seccomp'],
    });
    if (!plan.seccomp) return;
    // Without no_new_privs loading a filter needs CAP_SYS_ADMIN, which the change of user has taken out of the effective set.
    if (!plan.noNewPrivileges)
      stage.capset({ effective: admin, permitted: permitted | effective | inheritable | admin, inheritable: 0n });
    const { program, flags } = plan.seccomp;
    if (reserved) stage.seccomp_new_listener(program, flags, reserved, gate?.outbox[0]);
    else stage.seccomp_set_mode_filter(program, flags);
  };
  const capabilities = () => {
    stage.step({
      id: 'capabilities.final',
      why: 'permitted and effective shrink to what the container may; inheritable stays empty unless asked for',
      without: 'root in the container would be root with all its powers',
      see: ['capset(2)', 'CVE-2022-24769'],
    });
    stage.capset({ effective, permitted, inheritable });
    stage.cap_ambient_clear_all();
    for (let number = 0; number < capabilityNames.length; number++)
      if ((ambient >> BigInt(number)) & 1n) stage.cap_ambient_raise(number);
  };
  if (plan.noNewPrivileges) {
    stage.step({
      id: 'no-new-privileges',
      why: 'no exec gains privileges any more: setuid bits and file capabilities are dead',
      see: ['PR_SET_NO_NEW_PRIVS(2const)'],
    });
    stage.set_no_new_privs();
    capabilities();
    filter();
  } else {
    filter();
    capabilities();
  }

  stage.step({
    id: 'exec',
    why: 'the stage is gone; the container’s program has its place, its pid and its namespaces',
    see: ['execve(2)'],
  });
  if (init === undefined) stage.execve(command.path, command.argv, command.envp);
  else stage.fexecve(init, ['init', command.path, ...command.argv], command.envp);
}

function schedule(stage: Stage, calls: SchedulingPlan): void {
  stage.step({
    id: 'scheduling',
    why: 'which processors and which memory it has, when it runs, and whose interface it sees; while it still may raise them',
    see: ['sched_setaffinity(2)', 'sched_setattr(2)', 'ioprio_set(2)', 'set_mempolicy(2)', 'personality(2)'],
  });
  for (const { name, args } of calls) stage.schedule(name, args);
}

/** Opening a FIFO for writing blocks until somebody opens it for reading: `start`. It is closed by the exec, which start notices. */
function waitAtGate(stage: Stage, gate: Gate): void {
  stage.step({
    id: 'gate',
    why: 'the container is created: it outlives the runtime that made it, and its last frame begins by waiting for start',
    without: 'a client could not prepare anything between create and start',
    see: ['fifo(7)', 'PR_SET_PDEATHSIG(2const)', 'runtime.md: Lifecycle'],
  });
  stage.set_pdeathsig(0);
  stage.hold(false, gate.outbox[1]);
  stage.openat2(gate.descriptors, String(gate.fifo.number), k.O_WRONLY, 0);
}

/** A user that was looked up and is not root gets what an exec would leave it, before the exec: it can't open root's program. */
function capabilitiesFor(
  { user: wanted, capabilities }: ProcessPlan,
  user: ContainerUser,
): ProcessPlan['capabilities'] {
  if (wanted.kind === 'ids' || user.uid === 0) return capabilities;
  return { ...capabilities, effective: capabilities.ambient, permitted: capabilities.ambient };
}

function takeTerminal(stage: Stage, { terminal, user, pipes }: ProcessInput): void {
  stage.step({
    id: 'session',
    why: 'a session of its own: signals from the caller’s terminal don’t reach it by themselves',
    see: ['setsid(2)', 'credentials(7)'],
  });
  stage.setsid();
  if (terminal) {
    stage.fchownat(terminal.peer, '', user.uid, -1);
    for (const fd of [0, 1, 2]) stage.dup3(terminal.peer, fd);
    stage.tiocsctty(terminal.peer);
    stage.close(terminal.peer);
  } else {
    // Pipes become the user's, so that /dev/stdout can be opened by name; files and terminals of the caller don't.
    for (const fd of pipes) stage.fchownat(new StageFd(fd), '', user.uid, -1);
  }
}
