/**
 * `tinyctr limit`: a cgroup with limits and a command in it, without any container. The command is born in the cgroup (clone3 with
 * CLONE_INTO_CGROUP), so that not one of its pages is counted elsewhere; everything else is the caller's own. Host side.
 */
import { accessSync, closeSync, constants, readdirSync, readFileSync } from 'node:fs';
import { createCgroup, killCgroup, openCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { destroy, sendSignal } from '../core/host/child.ts';
import { attachDeviceRules } from '../core/host/device-filter.ts';
import { type SpawnedStage, spawnStage } from '../core/host/spawn.ts';
import { findCommand } from '../core/init/command.ts';
import { SIGINT, SIGQUIT } from '../core/kernel/constants.ts';
import { planCgroup } from '../core/plan/cgroup.ts';
import type { CgroupPlan } from '../core/plan/plan.ts';
import { type HostFd, type Observer, Stage } from '../core/stage/stage.ts';
import { StateFolder } from '../lifecycle/state.ts';
import { limitedDevices } from './devices.ts';
import { exitCode, forwarded } from './foreground.ts';
import { type Hit, readHits } from './hits.ts';
import { hostReaders } from './host.ts';
import { newLimit } from './limit-name.ts';
import { cgroupPath, resources } from './limits.ts';
import type { LimitOptions } from './options.ts';
import { isTerminal } from './terminal.ts';
import { Problems } from './usage-error.ts';
import { catchSignals, setBlocking, waitForExit } from './wait.ts';

export interface LimitRequest {
  root: string;
  runRoot: string;
  options: LimitOptions;
  command: readonly string[];
  observer: Observer | undefined;
  /** Told where the cgroup is before the command starts, and of the limits it hit when it has ended. */
  tell: LimitTold;
}

export interface LimitTold {
  /** The cgroup's folder is there, its files are written. */
  made?(folder: string, plan: CgroupPlan): void;
  /** The command has ended, the cgroup is still there. `left` processes of it did not end with it, and were killed. */
  ended(folder: string, left: number, hits: readonly Hit[]): Promise<void>;
}

/** Returns the exit status of the command. Throws what went wrong before it ran; then nothing is left. */
export async function limit(request: LimitRequest): Promise<number> {
  const name = newLimit();
  const plan = planLimit(request.options, name);
  const state = { id: name, pid: 0, cgroup: plan.path, root: request.root, remove: true };
  const states = StateFolder.create(request.runRoot, state);
  let folder: string;
  try {
    folder = createCgroup(plan);
  } catch (error) {
    states.remove();
    throw error;
  }
  // Before the start: a signal that comes meanwhile is for the command as well, and would end only us.
  const caught = catchSignals(forwarded);
  try {
    request.tell.made?.(folder, plan);
    const pidfd = await start(request, plan, folder, (pid) => states.write({ ...state, pid }));
    const status = exitCode(await waitForExit(pidfd, caught, (signal) => forward(pidfd, signal), false));
    closeSync(pidfd);
    const left = countProcesses(folder);
    killCgroup(folder);
    await request.tell.ended(folder, left, readHits(folder, plan.files, status, request.observer !== undefined));
    return status;
  } finally {
    removeCgroup(folder); // if it can't be, its state stays: cleanup finds it
    states.remove();
  }
}

/** @throws UsageError with everything that is wrong with the options */
function planLimit(options: LimitOptions, name: string): CgroupPlan {
  const problems = new Problems();
  const path = problems.attempt(() => cgroupPath(options.cgroupParent, name), '');
  const wanted = { ...resources(options, hostReaders, problems), devices: limitedDevices(options, problems) };
  problems.throwIfAny();
  return planCgroup(path, wanted);
}

/** Returns the command's pidfd once it executes. */
async function start(
  request: LimitRequest,
  plan: CgroupPlan,
  folder: string,
  born: (pid: number) => void,
): Promise<HostFd> {
  const planned = { process: { cwd: process.cwd(), rlimits: [] }, cgroup: plan };
  const explained = async (error: unknown, pid: number) =>
    (await import('../explain/failure.ts')).explainFailure(error, planned, pid);
  let spawned: SpawnedStage;
  try {
    spawned = spawnIn(folder, plan);
  } catch (error) {
    throw await explained(error, 0);
  }
  try {
    born(spawned.hostPid);
    spawned.wire.handshake();
    execute(spawned, request);
    return spawned.pidfd;
  } catch (error) {
    const better = await explained(error, spawned.hostPid);
    destroy(spawned.pidfd);
    throw better;
  } finally {
    spawned.wire.close();
  }
}

function spawnIn(folder: string, plan: CgroupPlan): SpawnedStage {
  const stdio = [0, 1, 2] as unknown as readonly [HostFd, HostFd, HostFd];
  for (const fd of stdio) if (!isTerminal(fd)) setBlocking(fd);
  const cgroupFd = openCgroup(folder);
  try {
    if (plan.devices) attachDeviceRules(cgroupFd, plan.devices.program);
    return spawnStage({ namespaces: 0, cgroupFd, stdio });
  } finally {
    closeSync(cgroupFd);
  }
}

function execute({ wire }: SpawnedStage, { command, observer }: LimitRequest): void {
  const stage = new Stage(wire);
  stage.observer = observer;
  const env = environment();
  const { path, argv } = findCommand(stage, { args: command, env: env.map(withoutClosed) }, { home: '' });
  stage.step({ id: 'exec', why: 'the stage was born in the cgroup; now it becomes the command', see: ['execve(2)'] });
  stage.hold();
  stage.execve(path, argv, env);
}

/** The caller's own; the launcher has put one variable aside, because it makes Node slow. */
function environment(): string[] {
  const { TINYCTR_EXTRA_CA_CERTS: certs, ...all } = process.env;
  if (certs !== undefined) all.NODE_EXTRA_CA_CERTS = certs;
  return Object.entries(all).map(([name, value]) => `${name}=${value}`);
}

/** execvp(3) passes over folders of PATH that this user may not enter, such as root's own; init meets none, it is root then. */
function withoutClosed(variable: string): string {
  if (!variable.startsWith('PATH=')) return variable;
  const folders = variable.slice(5).split(':');
  return `PATH=${folders.filter((folder) => folder === '' || !isClosed(folder)).join(':')}`;
}

function isClosed(folder: string): boolean {
  try {
    accessSync(folder, constants.X_OK);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === 'EACCES';
  }
}

/** Ctrl-C and Ctrl-\\ come from the terminal to its whole foreground process group: then the command has had the signal. */
function forward(pidfd: HostFd, signal: number): void {
  if (!((signal === SIGINT || signal === SIGQUIT) && inForeground())) sendSignal(pidfd, signal);
}

/** Is our process group the terminal's? Source: proc_pid_stat(5), pgrp and tpgid. */
function inForeground(): boolean {
  const text = readFileSync('/proc/self/stat', 'utf8');
  const [, , group, , , foreground] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}

/** In the cgroup and below. */
function countProcesses(folder: string): number {
  const own = readFileSync(`${folder}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).length;
  const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return below.reduce((sum, { name }) => sum + countProcesses(`${folder}/${name}`), own);
}
