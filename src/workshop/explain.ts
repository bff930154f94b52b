/** The ordered plan of a container without making it: src/core/init itself, carried out on a recording stage. Host side, changes nothing. */
import { fstatSync, readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { initContainer } from '../core/init/container.ts';
import { execProcess } from '../core/init/exec.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { ExecPlan, Plan } from '../core/plan/plan.ts';
import type { Arg } from '../core/stage/protocol.ts';
import type { HostFd, Step } from '../core/stage/stage.ts';
import { directory, file, folderTree, type Hidden, type Tree, type WorldFile } from './files.ts';
import { hostSteps } from './host-steps.ts';
import { type OtherCall, type RecordedEvent, type RecordedStep, recordStage } from './recording-stage.ts';
import { Unseen } from './unseen.ts';

export type Phase = 'host' | 'init' | 'last frame' | 'exec';

export interface ExplainedCall {
  /** As strace prints it; the result is what a kernel would say. */
  text: string;
  /** Of the calls of the stage. */
  name?: string;
  args?: readonly Arg[];
  result?: number | undefined;
  /** Calls of one frame go to the stage together. */
  frame?: number;
  /** It goes with the frame that ends in execve. */
  last?: boolean;
}

export interface ExplainedStep {
  phase: Phase;
  id: string;
  why: string;
  without?: string;
  see: readonly string[];
  calls: ExplainedCall[];
}

export interface ExplainOptions {
  /** Files of the host that will be there by then, by path. */
  files?: readonly string[];
  /** Standard input is not handed on. */
  noStdin?: boolean;
  /** Only created: it waits for its start, and has the caller's own input and output. */
  created?: boolean;
  /** So many descriptors follow 0, 1 and 2. */
  preserved?: number;
  /** What others do while the stage waits, in words: hooks, and an agent that is connected to. Undefined: it does not wait. */
  interlude?: Record<'mounted' | 'ready', readonly string[]> | undefined;
  /** Is told what could not be looked at, and is assumed therefore. */
  note?: ((text: string) => void) | undefined;
}

/** Any number will do: nobody uses it. */
const SOME_FD = 0 as HostFd;

const startHooks: Step = {
  id: 'hooks.start',
  why: 'all that needs an answer is done: others may act inside the container before its program does',
  see: ['config.md: StartContainer Hooks'],
};

const byOthers = (text: string): OtherCall => ({ text });
const listens = ({ process: { seccomp } }: Plan): boolean =>
  seccomp !== undefined && (seccomp.flags & k.SECCOMP_FILTER_FLAG_NEW_LISTENER) !== 0;

/** Throws ContainerError for what init would refuse as well: a command that is not there, a user that nobody knows. */
export function explainPlan(plan: Plan, options: ExplainOptions = {}): ExplainedStep[] {
  const { files = [], noStdin = false, created = false, preserved = 0, interlude } = options;
  const cgroup = `${cgroupFolder()}${plan.cgroup.path}`;
  const unseen = new Unseen(plan);
  const { stage, steps } = recordStage({
    image: unseen.image(),
    host: unseen.host(hostTree(files, cgroup, unseen.onHost)),
    filesystems,
    target: plan.root.target,
    limits: ownLimits,
    reuseNumbers: true,
  });
  const others = plan.namespaces.join.length + plan.idMaps.length;
  initContainer(
    stage,
    plan,
    {
      namespaces: Array.from({ length: others }, () => SOME_FD),
      pipes: pipesOf(plan, !created).filter((fd) => fd > 0 || !noStdin),
      forked: () => undefined,
      preserved: Array.from({ length: preserved }, () => SOME_FD),
      ...(created ? { gate: SOME_FD, outbox: listens(plan) ? [SOME_FD, SOME_FD] : [] } : {}),
      ...(plan.process.init ? { init: SOME_FD } : {}),
    },
    () => {
      if (interlude) stage.flush();
      if (interlude?.ready.length) steps.push({ step: startHooks, calls: interlude.ready.map(byOthers) });
    },
    interlude &&
      (() => {
        if (interlude.mounted.length > 0)
          steps.push({ step: stage.currentStep, calls: interlude.mounted.map(byOthers) });
      }),
  );
  if (options.note) unseen.tell(options.note);
  const host = hostSteps(plan, cgroupFolder()).map(
    ({ step, calls }): ExplainedStep => ({ phase: 'host', ...told(step), calls: calls.map((text) => ({ text })) }),
  );
  return [...host, ...explained(steps)];
}

/** One more process of a container: `namespaces` are CLONE_NEW* of those that are not the host's. */
export function explainExec(
  exec: ExecPlan,
  container: Plan,
  namespaces: number,
  note?: ExplainOptions['note'],
): ExplainedStep[] {
  const unseen = new Unseen({ ...container, process: exec.process });
  const { stage, steps, world } = recordStage({
    image: unseen.image(),
    host: hostTree([], ''),
    filesystems,
    target: container.root.target,
    limits: ownLimits,
    reuseNumbers: true,
  });
  for (const mount of container.mounts) {
    if (mount.kind === 'bind') world.mount(mount.target, `host:${mount.source}`);
    if (mount.kind === 'filesystem') world.mount(mount.target, `detached ${mount.fstype}`);
  }
  const pipes = pipesOf({ ...container, ...exec }, true);
  const input = { target: SOME_FD, namespaces, pipes, preserved: [], outlives: false };
  execProcess(stage, exec, input, () => undefined);
  if (note) unseen.tell(note);
  return explained(steps);
}

const explained = (steps: readonly RecordedStep[]): ExplainedStep[] =>
  steps.map(({ step, calls }) => ({ phase: phaseOf(step.id, calls), ...told(step), calls: calls.map(plain) }));

const told = ({
  id,
  why,
  without,
  see = [],
}: {
  id: string;
  why: string;
  without?: string;
  see?: readonly string[];
}) => ({
  id,
  why,
  ...(without === undefined ? {} : { without }),
  see,
});

function plain(call: RecordedEvent | OtherCall): ExplainedCall {
  if (!('name' in call)) return call;
  const { text, name, args, result, frame, last } = call;
  return { ...{ text, name, args, result, frame }, ...(last ? { last } : {}) };
}

function phaseOf(id: string, calls: readonly (RecordedEvent | OtherCall)[]): Phase {
  if (id === 'exec') return 'exec';
  return calls.some((call) => 'name' in call && call.last) ? 'last frame' : 'init';
}

/** Also on a host where it is mounted nowhere, and a container could not be. */
function cgroupFolder(): string {
  try {
    return cgroupRoot();
  } catch (error) {
    if (error instanceof ContainerError) return '/sys/fs/cgroup';
    throw error;
  }
}

/** What is a pipe, a socket or a terminal of this command's would be a pipe of the container's; a run in the foreground relays it. */
function pipesOf({ terminal, namespaces: { user } }: Plan, relayed: boolean): number[] {
  if (terminal || (user && !user.root)) return [];
  const isRelayed = (fd: number) => relayed && (isatty(fd) || fstatSync(fd).isSocket());
  return [0, 1, 2].filter((fd) => isRelayed(fd) || fstatSync(fd).isFIFO());
}

/** `cgroup` and `files` are made before init's first call. */
function hostTree(files: readonly string[], cgroup: string, hidden?: Hidden): Tree {
  const host = folderTree('', hidden);
  const isAbove = (path: string) => path === cgroup || [cgroup, ...files].some((name) => name.startsWith(`${path}/`));
  return (path) => host(path) ?? (files.includes(path) ? file() : isAbove(path) ? directory : undefined);
}

const ptmx: WorldFile = { mode: k.S_IFCHR | 0o666, rdev: 0x502 };
/** A new procfs and sysfs show what the host's show, but for its processes and network devices. */
const filesystems: Record<string, Tree> = {
  proc: folderTree('/proc'),
  sysfs: folderTree('/sys'),
  devpts: (path) => (path === '/' ? directory : path === '/ptmx' ? ptmx : undefined),
};

/** The lines of /proc/self/limits stand in the order of the resources' numbers; proc_pid_limits(5). */
function ownLimits(resource: number): readonly [soft: bigint, hard: bigint] {
  const line = readFileSync('/proc/self/limits', 'utf8').split('\n')[resource + 1] ?? '';
  const [soft, hard] = line.slice(26).trim().split(/\s+/);
  const value = (text: string | undefined) => (text === 'unlimited' || !text ? 2n ** 64n - 1n : BigInt(text));
  return [value(soft), value(hard)];
}
