/**
 * Hooks: programs that others put between the steps of a container's life. Host side. Source: runtime-spec config.md
 * "POSIX-platform Hooks", runtime.md "Lifecycle". Each is executed by a stage of its own, a child of this process: on the
 * host, or in the container's namespaces and cgroup. Files in memory are its input and output, so that nobody has to
 * read while it runs, and a daemon that it leaves behind keeps nobody waiting.
 */
import { closeSync, fstatSync, readFileSync, readSync, writeSync } from 'node:fs';
import { constants as os } from 'node:os';
import { cgroupRoot, openCgroup } from '../core/host/cgroup.ts';
import { destroy, reap } from '../core/host/child.ts';
import { inPidNamespace, otherNamespaces } from '../core/host/namespaces.ts';
import { type SpawnedStage, spawnStage } from '../core/host/spawn.ts';
import { memfd } from '../core/host/wire.ts';
import { enterDirectory } from '../core/init/directory.ts';
import { writeProc } from '../core/init/proc.ts';
import { becomeProcess } from '../core/init/process.ts';
import * as k from '../core/kernel/constants.ts';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import type { ProcessPlan } from '../core/plan/plan.ts';
import { type HostFd, Stage, type StageFd } from '../core/stage/stage.ts';
import { type ContainerState, openProcess, waitForAny } from '../lifecycle/lifecycle.ts';
import type { Hook, HookName, Spec } from '../spec/types.ts';
import { specVersion } from './globals.ts';
import type { ToAgent } from './seccomp-agent.ts';

/** Where a hook runs. */
interface Place {
  /** In its namespaces and cgroup; undefined is the host itself. */
  container?: ContainerState;
  /** With the identity, the limits and the filter of the container's program, in its working directory. */
  as?: ProcessPlan;
  /** Who answers for that filter, if it has a listener. */
  agent?: () => ToAgent;
  /** Else the working directory, as seen there. */
  cwd: string;
  /** Of hooks that bring none. */
  env: readonly string[];
}

/** The caller's: the launcher had put one variable aside. */
function ownEnvironment(): string[] {
  const { TINYCTR_EXTRA_CA_CERTS: certificates, ...env } = process.env;
  const all = certificates === undefined ? env : { ...env, NODE_EXTRA_CA_CERTS: certificates };
  return Object.entries(all).map(([name, value]) => `${name}=${value}`);
}

/** Between mounts and pivot_root: prestart and createRuntime on the host, createContainer in the container's namespaces. */
export function runCreateHooks(spec: Spec, state: ContainerState): void {
  const { bundle: cwd, rootfs, pid } = state;
  const env = ownEnvironment();
  for (const name of ['prestart', 'createRuntime'] as const)
    runHooks(spec, name, { ...describe(state, 'creating'), pid }, { cwd, env });
  const inside = { ...describe(state, 'creating'), pid: pidInside(pid) };
  runHooks(spec, 'createContainer', inside, { container: state, cwd: rootfs, env });
}

/** Just before the program is executed; the path is the container's. */
export function runStartHooks(spec: Spec, state: ContainerState, as: ProcessPlan, agent: () => ToAgent): void {
  const inside = { ...describe(state, 'created'), pid: pidInside(state.pid) };
  runHooks(spec, 'startContainer', inside, { container: state, as, agent, cwd: as.cwd, env: as.env });
}

/** The program runs. */
export function runPoststartHooks(spec: Spec, state: ContainerState): void {
  const outside = { ...describe(state, 'running'), pid: state.pid };
  runHooks(spec, 'poststart', outside, { cwd: state.bundle, env: ownEnvironment() });
}

/** Nothing of the container is left: one that fails is a warning, the others run all the same. */
export function runPoststopHooks(spec: Spec, state: ContainerState, warn: (message: string) => void): void {
  for (const [index, hook] of (spec.hooks?.poststop ?? []).entries())
    try {
      runHook('poststop', index, hook, describe(state, 'stopped'), { cwd: state.bundle, env: ownEnvironment() });
    } catch (error) {
      warn((error as Error).message);
    }
}

function describe({ id, bundle, annotations }: ContainerState, status: string): object {
  const more = Object.keys(annotations).length > 0 ? { annotations } : {};
  return { ociVersion: specVersion, id, status, bundle, ...more };
}

/** As the container's own pid namespace counts: the last of NSpid in /proc/PID/status. */
function pidInside(hostPid: number): number {
  const status = readFileSync(`/proc/${hostPid}/status`, 'utf8');
  return Number(/^NSpid:.*?([0-9]+)$/m.exec(status)![1]);
}

/** In their order, up to the first that fails. @throws ContainerError */
function runHooks(spec: Spec, name: HookName, state: object, place: Place): void {
  for (const [index, hook] of (spec.hooks?.[name] ?? []).entries()) runHook(name, index, hook, state, place);
}

function runHook(name: HookName, index: number, hook: Hook, state: object, place: Place): void {
  const input = memfd('hook-state', 0);
  const output = memfd('hook-output', 0);
  const failure = (what: string) =>
    new ContainerError(`error running ${name} hook #${index}: ${hook.path}: ${what}${written(output)}`, {
      specPointer: `/hooks/${name}/${index}`,
    });
  try {
    writeSync(input, JSON.stringify(state), 0);
    const { hostPid, pidfd } = executeHook(hook, place, [input, output, output], failure);
    if (!waitForAny([pidfd], hook.timeout === undefined ? -1 : hook.timeout * 1000)) {
      process.kill(-hostPid, 'SIGKILL'); // its group: it is not reaped yet, so the number means nobody else
      destroy(pidfd);
      throw failure(`not done after its timeout of ${hook.timeout} s`);
    }
    const status = reap(pidfd, 0)!;
    closeSync(pidfd);
    if ('signal' in status) throw failure(`killed by signal ${signalName(status.signal)}`);
    if (status.exited !== 0) throw failure(`exit status ${status.exited}`);
  } finally {
    closeSync(input);
    closeSync(output);
  }
}

/** Of a filter's refusal in words: the number alone says little. */
const signalName = (signal: number): string =>
  signal === os.signals.SIGSYS ? `${signal} (bad system call)` : `${signal}`;

/** The first of what it wrote, for the error. */
function written(output: HostFd): string {
  const bytes = Buffer.alloc(Math.min(fstatSync(output).size, 1000));
  const text = bytes.toString('utf8', 0, readSync(output, bytes, 0, bytes.length, 0)).trim();
  return text === '' ? '' : `, output: ${text}`;
}

type Stdio = [HostFd, HostFd, HostFd];

/** Returns once the hook's program has the stage's place, as the leader of a session and a process group. */
function executeHook(hook: Hook, place: Place, stdio: Stdio, failure: (what: string) => ContainerError): SpawnedStage {
  const target = place.container && findTarget(place.container);
  const spawned = spawn(place, stdio, target);
  const stage = new Stage(spawned.wire);
  stage.listener = (fd) => place.agent!()(fd, spawned.hostPid);
  const argv = hook.args?.length ? hook.args : [hook.path];
  const envp = hook.env ?? place.env;
  try {
    spawned.wire.handshake();
    stage.set_undumpable(); // before it joins: no process already there can attach to it
    if (place.as) writeProc(stage, [], place.as); // its label too
    if (target) enter(stage, target);
    if (place.as) becomeHook(stage, place.as, { path: hook.path, argv, envp });
    else {
      stage.setsid();
      stage.chdir(place.cwd);
      stage.hold();
      stage.close_range_cloexec(3);
      stage.execve(hook.path, argv, envp);
    }
    return spawned;
  } catch (error) {
    destroy(spawned.pidfd);
    if (!(error instanceof SyscallError)) throw error;
    const { syscall: name, errno } = error.facts;
    throw failure(name === 'execve' ? errnoText(errno) : `${name}: ${errnoText(errno)}`);
  } finally {
    spawned.wire.close();
    if (target) closeSync(target.pidfd);
  }
}

function becomeHook(
  stage: Stage,
  plan: ProcessPlan,
  command: { path: string; argv: string[]; envp: readonly string[] },
) {
  if (plan.user.kind !== 'ids') throw new Error('a user of config.json is a number');
  enterDirectory(stage, { ...plan, createCwd: false });
  const user = { ...plan.user, home: '/' };
  const nothing = { terminal: undefined, init: undefined, pipes: [], preserved: [], gate: undefined, outlives: false };
  becomeProcess(stage, { plan, user, command, ...nothing }, () => undefined);
}

interface Target {
  pidfd: HostFd;
  /** CLONE_NEW* of the namespaces that are not ours. */
  namespaces: number;
}

function findTarget(state: ContainerState): Target {
  const pidfd = openProcess(state);
  if (pidfd === undefined) throw new ContainerError('the container ended before its hooks were done');
  return { pidfd, namespaces: otherNamespaces(state.pid) };
}

function spawn({ container }: Place, stdio: Stdio, target: Target | undefined): SpawnedStage {
  const cgroupFd = container && openCgroup(cgroupRoot() + container.cgroup);
  try {
    const make = () => spawnStage({ namespaces: 0, stdio, ...(cgroupFd === undefined ? {} : { cgroupFd }) });
    return target && target.namespaces & k.CLONE_NEWPID ? inPidNamespace(target.pidfd, make) : make();
  } finally {
    if (cgroupFd !== undefined) closeSync(cgroupFd);
  }
}

/** setns(2) with a pidfd takes all at once. */
function enter(stage: Stage, { pidfd, namespaces }: Target): void {
  const [fd] = stage.receive_fds([pidfd]) as [StageFd];
  stage.setns(fd, namespaces);
  if (!(namespaces & k.CLONE_NEWUSER)) return;
  stage.setresgid(0);
  stage.setresuid(0);
}
