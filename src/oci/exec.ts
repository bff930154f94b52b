/** `exec`: one more process in a container, attended to its end, or left behind as the caller's. Host side. */
import { closeSync, readFileSync, statSync } from 'node:fs';
import { prefixed } from '../cli/errors.ts';
import type { AttendedProcess } from '../core/container/attend.ts';
import { type ExecOptions, type ExecTarget, exec } from '../core/container/exec.ts';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { destroy } from '../core/host/child.ts';
import { syscall } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { allCapabilities } from '../core/plan/capabilities.ts';
import { planExec } from '../core/plan/container.ts';
import type { ExecPlan } from '../core/plan/plan.ts';
import { type HostFd, StageGone } from '../core/stage/stage.ts';
import { exitCode, openStdio, superviseForeground } from '../engine/foreground.ts';
import { isTerminal, windowSize } from '../engine/terminal.ts';
import { setBlocking } from '../engine/wait.ts';
import { type ContainerState, isEnding, openProcess } from '../lifecycle/lifecycle.ts';
import { compiledFilter } from '../seccomp/cache.ts';
import { notifies } from '../seccomp/rules.ts';
import { parseCpuList, planScheduling } from '../spec/scheduling.ts';
import type { Seccomp, Spec } from '../spec/types.ts';
import { type ConsoleSocket, consoleFor, pidfdReceiver, preservedFds, writePidFile } from './descriptors.ts';
import { type ProcessOptions, processOf } from './exec-process.ts';
import type { Globals } from './globals.ts';
import { planLabels } from './labels.ts';
import { observer, reporter, withoutCall } from './log.ts';
import { permittedCapabilities } from './plan.ts';
import { type Found, findContainer, frozenSpec } from './state.ts';

export interface ExecRequest extends ProcessOptions {
  consoleSocket?: string;
  pidfdSocket?: string;
  detach?: boolean;
  pidFile?: string;
  preserveFds: number;
  ignorePaused?: boolean;
  /** Below the container's. */
  cgroup?: string;
}

/** Returns the exit status of the process, 128 plus the number of a signal that ended it; 0 at once if it is detached. */
export async function execInContainer(
  globals: Globals,
  id: string,
  args: readonly string[],
  request: ExecRequest,
): Promise<number> {
  const preserved = preservedFds(request.preserveFds);
  const found = await enterable(globals.root, id, request.ignorePaused ?? false);
  const { plan, initial, seccomp } = planFor(globals, found, args, request);
  const console = consoleFor(plan.terminal !== undefined, request.detach ?? false, request.consoleSocket);
  const tellPidfd = pidfdReceiver(request.pidfdSocket);
  const target = targetOf(found, request.cgroup);
  const listener = seccomp && (await import('./seccomp-agent.ts')).connectAgent(seccomp, found.state, 'running');
  const start: Start = (stdio, outlives) =>
    startProcess(globals, plan, found.state, target, {
      stdio,
      preserved,
      outlives,
      initial,
      ...(listener && { listener }),
    });
  try {
    return request.detach
      ? await leave(start, request, console, tellPidfd)
      : await attendTo(start, request, plan, tellPidfd);
  } finally {
    closeSync(target.pidfd);
  }
}

type Stdio = readonly [HostFd, HostFd, HostFd];
type Start = (stdio: Stdio, outlives: boolean) => Promise<AttendedProcess>;

const stopped = () => new ContainerError('cannot exec in a stopped container');

async function enterable(root: string, id: string, ignorePaused: boolean): Promise<Found> {
  for (;;) {
    const found = findContainer(root, id);
    if (found.status === 'stopped') throw stopped();
    if (found.status === 'creating') throw new ContainerError('cannot exec in a container that is still being created');
    if (found.status !== 'paused') return found;
    if (!ignorePaused)
      throw new ContainerError('cannot exec in a paused container (use --ignore-paused to override)', {
        hint: 'with --ignore-paused exec waits until the container is resumed',
      });
    await new Promise((resolve) => setTimeout(resolve, 20)); // a process born in a frozen cgroup is frozen as well
  }
}

/** `initial` is execCPUAffinity's; `seccomp` is there if it hands calls to an agent. */
interface Planned {
  plan: ExecPlan;
  seccomp: Seccomp | undefined;
  initial: string | undefined;
}

function planFor(globals: Globals, { folder }: Found, args: readonly string[], request: ExecRequest): Planned {
  const spec = frozenSpec(folder);
  const permitted = isInUser(spec) ? allCapabilities : permittedCapabilities();
  const process = processOf(spec.process!, args, request, permitted, reporter(globals));
  const { seccomp } = spec.linux ?? {};
  const filter = seccomp && compiledFilter(seccomp, `${globals.root}/.seccomp`);
  const size = process.consoleSize;
  const scheduling = planScheduling(process, spec.linux, true);
  const labels = planLabels(process);
  const plan = planExec(
    process,
    {
      ...(filter ? { seccomp: { program: filter.program, flags: filter.loadFlags } } : {}),
      scheduling,
      ...(labels.length > 0 ? { labels } : {}),
      ...(size ? { terminal: { rows: size.height, columns: size.width } } : {}),
    },
    { permittedCapabilities: permitted },
  );
  return { plan, seccomp: notifies(seccomp) ? seccomp : undefined, initial: process.execCPUAffinity?.initial };
}

function targetOf({ state, folder: place }: Found, below: string | undefined): ExecTarget {
  const spec = frozenSpec(place);
  const pidfd = openProcess(state);
  if (pidfd === undefined) throw stopped();
  const cgroup = cgroupRoot() + state.cgroup;
  const target = { hostPid: state.pid, pidfd, user: isInUser(spec) ? { root: rootOf(state.pid) } : undefined };
  if (below === undefined) return { ...target, cgroup };
  const parts = below.split('/').filter((part) => part !== '' && part !== '.');
  const folder = [cgroup, ...parts].join('/');
  const at = { hint: `it must exist below ${cgroup}` };
  if (parts.includes('..')) throw new ContainerError(`bad sub cgroup path: --cgroup ${below}`, at);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new ContainerError(`error adding pid to --cgroup ${below}: no such file or directory`, at);
  if (/^frozen 1$/m.test(readFileSync(`${folder}/cgroup.events`, 'utf8')))
    throw new ContainerError(`--cgroup ${below} is frozen`);
  return { ...target, cgroup: folder };
}

const isInUser = ({ linux }: Spec): boolean => linux?.namespaces?.some(({ type }) => type === 'user') ?? false;

/** Who the root of a process's user namespace is outside. Source: user_namespaces(7), /proc/pid/uid_map. */
function rootOf(pid: number): { uid: number; gid: number } {
  const root = (file: string) => Number(/^ *0 +(\d+)/m.exec(readFileSync(`/proc/${pid}/${file}`, 'utf8'))![1]);
  return { uid: root('uid_map'), gid: root('gid_map') };
}

async function startProcess(
  globals: Globals,
  plan: ExecPlan,
  state: ContainerState,
  target: ExecTarget,
  { initial, ...options }: Omit<ExecOptions, 'observer' | 'explain'> & { initial: string | undefined },
): Promise<AttendedProcess> {
  const explain = async (error: unknown, hostPid: number) =>
    withoutCall((await import('../explain/failure.ts')).explainFailure(error, plan, hostPid));
  try {
    const start = () => exec(plan, target, { ...options, observer: observer(globals), explain });
    return await (initial ? onProcessors(parseCpuList(initial)!, start) : start());
  } catch (error) {
    if (await hasEnded(error, state)) throw stopped();
    throw prefixed('unable to start container process: ', error);
  }
}

/** Does `start` while this thread runs on certain processors only: its child begins there, before it is in the container's cpuset. */
function onProcessors<T>(mask: Uint8Array, start: () => T): T {
  const own = Buffer.alloc(1024);
  const length = syscall('sched_getaffinity', [0, own.length, own]);
  syscall('sched_setaffinity', [0, mask.length, mask]);
  try {
    return start();
  } finally {
    syscall('sched_setaffinity', [0, length, own]);
  }
}

/** Its end kills whoever enters it; who was killed first, this process or the container's, is a matter of chance. */
async function hasEnded(error: unknown, state: ContainerState): Promise<boolean> {
  for (let waitMs = error instanceof StageGone ? 64 : 0; !isEnding(state); waitMs >>= 1) {
    if (waitMs === 0) return false;
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
  return true;
}

type TellPidfd = ReturnType<typeof pidfdReceiver>;

/** The caller, or the next subreaper above it, becomes its parent. */
async function leave(
  start: Start,
  request: ExecRequest,
  console: ConsoleSocket | undefined,
  tellPidfd: TellPidfd,
): Promise<number> {
  const stdio = [0, 1, 2] as [HostFd, HostFd, HostFd];
  for (const fd of stdio) setBlocking(fd); // Node has made pipes of them non-blocking, for the container too
  const { hostPid, pidfd, terminal } = await start(stdio, true);
  try {
    tellPidfd?.(pidfd);
    if (terminal !== undefined) console!.send(terminal);
    if (request.pidFile !== undefined) writePidFile(request.pidFile, hostPid);
  } catch (error) {
    destroy(pidfd);
    throw error;
  }
  closeSync(pidfd);
  return 0;
}

async function attendTo(start: Start, request: ExecRequest, plan: ExecPlan, tellPidfd: TellPidfd): Promise<number> {
  if (plan.terminal?.rows === 0) plan.terminal = windowSize(1 as HostFd);
  const stdio = openStdio(!plan.terminal);
  const supervise = superviseForeground(false);
  let process: AttendedProcess | undefined;
  try {
    process = await start(stdio.fds, false);
    tellPidfd?.(process.pidfd);
    if (request.pidFile !== undefined) writePidFile(request.pidFile, process.hostPid);
  } catch (error) {
    if (process) destroy(process.pidfd);
    stdio.discard();
    throw error;
  }
  const { pidfd, terminal } = process;
  const relaying = await stdio.handOver();
  const detach = terminal && (await import('../engine/relay.ts')).attachTerminal(terminal, isTerminal(0));
  const status = await supervise(pidfd, relaying || detach !== undefined);
  await detach?.();
  await stdio.drained(1000); // a process that it left behind may keep its output open
  return exitCode(status);
}
