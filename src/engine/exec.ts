/** `tinyctr exec`: one more process in a container that runs, with the container's own walls. Host side. */
import { closeSync, constants, openSync } from 'node:fs';
import { type ExecTarget, exec } from '../core/container/exec.ts';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { randomHex } from '../core/host/random.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { capabilitiesIn } from '../core/plan/capabilities.ts';
import { planExec } from '../core/plan/container.ts';
import type { ExecPlan } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import type { HostFd, Observer } from '../core/stage/stage.ts';
import { type FirstProcess, openFirstProcess } from '../lifecycle/first-process.ts';
import { readRunState } from '../lifecycle/state.ts';
import { terminalWishes } from './asked.ts';
import { workingDirectory } from './command.ts';
import type { ContainerRecord } from './containers.ts';
import { DETACH_KEYS, DetachKeys } from './detach-keys.ts';
import { environment } from './environment.ts';
import { exitCode, openStdio, superviseForeground } from './foreground.ts';
import { hostReaders } from './host.ts';
import { checkUser } from './identity.ts';
import { containerEvent, tell } from './journal.ts';
import { filterOf, permittedCapabilities as ownCapabilities } from './plan.ts';
import { readStored, type StoredContainer } from './stored-file.ts';
import { isTerminal, windowSize } from './terminal.ts';
import { Problems, UsageError } from './usage-error.ts';

export interface ExecOptions {
  interactive?: boolean;
  tty?: boolean;
  detach?: boolean;
  env: string[];
  envFile: string[];
  workdir?: string;
  user?: string;
  privileged?: boolean;
  detachKeys?: string;
}

/**
 * `observer` watches how it comes about. Returns the exit status of the process, 0 at once if it is detached, undefined when the keys were
 * typed that leave it. Throws ContainerError, UsageError.
 */
export async function execIn(
  root: string,
  runRoot: string,
  record: ContainerRecord,
  command: readonly string[],
  given: ExecOptions,
  observer?: Observer,
): Promise<number | undefined> {
  const options = given.detach ? given : { ...given, ...terminalWishes(given) };
  const keys = keysOf(options);
  const state = readRunState(runRoot, record.id);
  const first = state && openFirstProcess(state);
  if (!first)
    throw new ContainerError(`container ${record.id.slice(0, 12)} is not running`, {
      hint: `tinyctr start ${record.name ?? record.id.slice(0, 12)}`,
      exitCode: 1,
    });
  if (options.tty && options.interactive && !isTerminal(0))
    throw new ContainerError('-i with -t wants a terminal, but standard input is not one', {
      hint: 'leave -t away: tinyctr exec -i …',
      exitCode: 1,
    });
  try {
    const plan = planFor(root, readStored(root, record.id), command, options);
    const target = targetOf(first, state.cgroup, record);
    const execID = randomHex(32);
    const words = `${command[0]} ${command.slice(1).join(' ')}`; // docker's way to write it
    const started = () =>
      tell(
        root,
        ['exec_create', 'exec_start'].map((action) => containerEvent(record, `${action}: ${words}`, { execID })),
      );
    if (options.detach) return await leave(plan, target, started, observer); // nobody will see its end
    const status = await attend(plan, target, options, keys, started, observer);
    if (status === undefined) tell(root, [containerEvent(record, 'exec_detach', { execID })]);
    else tell(root, [containerEvent(record, 'exec_die', { execID, exitCode: String(status) })]);
    return status;
  } finally {
    closeSync(first.pidfd);
  }
}

function planFor(
  root: string,
  { wanted }: StoredContainer,
  command: readonly string[],
  options: ExecOptions,
): ExecPlan {
  const own = wanted.spec.process!;
  const problems = new Problems();
  const user = problems.attempt(
    () => (options.user === undefined ? wanted.user : checkUser('--user', options.user)),
    '',
  );
  const cwd = problems.attempt(() => workingDirectory(options, { WorkingDir: own.cwd }), own.cwd);
  const { env, envFile, privileged = false, tty = false } = options;
  const variables = environment(
    {
      options: { env, envFile },
      image: { Env: own.env ?? [] },
      host: hostReaders,
      hostname: wanted.hostname,
      terminal: tty,
    },
    problems,
  );
  problems.throwIfAny();
  const permittedCapabilities = ownCapabilities();
  const all = capabilitiesIn(permittedCapabilities);
  const capabilities = privileged ? { bounding: all, effective: all, permitted: all } : own.capabilities;
  const filter = privileged ? undefined : filterOf(wanted, `${root}/seccomp`);
  return planExec(
    { ...own, args: [...command], env: variables, cwd, terminal: tty, ...(capabilities && { capabilities }) },
    {
      user: { kind: 'lookup', user, groupAdd: wanted.groupAdd },
      ...(filter ? { seccomp: filter } : {}),
      ...(tty ? { terminal: windowSize(1 as HostFd) } : {}),
    },
    { permittedCapabilities },
  );
}

function targetOf({ pid, pidfd }: FirstProcess, cgroup: string, { idMaps }: ContainerRecord): ExecTarget {
  const user = idMaps && { root: { uid: hostId(idMaps.uid, 0)!, gid: hostId(idMaps.gid, 0)! } };
  return { hostPid: pid, pidfd, cgroup: cgroupRoot() + cgroup, user };
}

const explainer = (plan: ExecPlan) => async (error: unknown, hostPid: number) =>
  (await import('../explain/failure.ts')).explainFailure(error, plan, hostPid);

/** Undefined where nothing is typed at a terminal. @throws UsageError */
function keysOf({ tty, interactive, detach, detachKeys }: ExecOptions): DetachKeys | undefined {
  if (tty && interactive && !detach) return new DetachKeys(detachKeys ?? DETACH_KEYS);
  if (detachKeys !== undefined) throw new UsageError('--detach-keys are typed at a terminal: with -i and -t');
  return undefined;
}

/** With `keys` it goes on when this process ends, and ends by the SIGHUP of its terminal if nobody holds that. */
async function attend(
  plan: ExecPlan,
  target: ExecTarget,
  { interactive = false }: ExecOptions,
  keys: DetachKeys | undefined,
  started: () => void,
  observer: Observer | undefined,
): Promise<number | undefined> {
  const stdio = openStdio(!plan.terminal && interactive);
  const supervise = superviseForeground(false);
  let process: Awaited<ReturnType<typeof exec>>;
  try {
    const outlives = keys !== undefined;
    process = await exec(plan, target, { stdio: stdio.fds, outlives, observer, explain: explainer(plan) });
  } catch (error) {
    stdio.discard();
    throw error;
  }
  const { pidfd, terminal } = process;
  const relaying = await stdio.handOver();
  started();
  const relay = terminal === undefined ? undefined : await import('./relay.ts');
  let isLeft = false;
  const left = () => {
    isLeft = true;
    globalThis.process.kill(globalThis.process.pid, 'SIGCHLD'); // wakes who waits
  };
  const detach = relay?.attachTerminal(terminal!, interactive, { leaving: keys && { keys, left } });
  const status = await supervise(pidfd, relaying || detach !== undefined, () => isLeft);
  if (status === undefined) {
    await relay!.leaveTerminal(terminal!);
    return undefined;
  }
  await detach?.();
  await stdio.drained(1000); // a process that it left behind may keep its output open
  return exitCode(status);
}

/** It goes on when this process has ended. Its output goes nowhere, as docker's. */
async function leave(
  plan: ExecPlan,
  target: ExecTarget,
  started: () => void,
  observer: Observer | undefined,
): Promise<number> {
  const nothing = openSync('/dev/null', constants.O_RDWR) as HostFd;
  try {
    const stdio = [nothing, nothing, nothing] as const;
    const options = { stdio, observer, outlives: true, explain: explainer(plan) };
    const { pidfd, terminal } = await exec(plan, target, options);
    started();
    closeSync(pidfd);
    if (terminal !== undefined) closeSync(terminal);
  } finally {
    closeSync(nothing);
  }
  return 0;
}
