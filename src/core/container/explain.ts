/**
 * Facts that prove why a step failed, read from the host while the half-built container still stands. Host side.
 * An error that nothing was found out about comes back as it was.
 */
import { readFileSync } from 'node:fs';
import { cgroupRoot } from '../host/cgroup.ts';
import { syscall } from '../host/syscall.ts';
import * as k from '../kernel/constants.ts';
import { errnoText } from '../kernel/errno.ts';
import { ContainerError, SyscallError } from '../kernel/error.ts';
import { readChildStatus, SIGINFO_SIZE } from '../kernel/structs.ts';
import type { Plan } from '../plan/plan.ts';
import { StageGone } from '../stage/stage.ts';
import { type ExecFault, findExecFault } from './explain-exec.ts';
import { explainPivotRoot, explainProc } from './explain-mount.ts';

/** `hostPid` is the stage's, still a child of this process. Never throws. */
export function explainFailure(error: unknown, plan: Plan, hostPid: number): unknown {
  if (error instanceof SyscallError && error.facts.syscall === 'execve') return explainExec(error, plan, hostPid);
  return ifReadable(() => explain(error, plan, hostPid)) ?? error;
}

/** The facts are looked for after a failure: that one of them can't be read must not hide it. */
function ifReadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function explain(error: unknown, plan: Plan, hostPid: number): ContainerError | undefined {
  if (error instanceof StageGone) return explainEnd(error, plan, hostPid);
  if (!(error instanceof SyscallError)) return undefined;
  const { syscall: name } = error.facts;
  if (name === 'pivot_root') return explainPivotRoot(error, hostPid);
  if (name === 'fsmount' && error.code === 'EPERM') return explainProc(error, plan, hostPid);
  if (name === 'prlimit64' && error.code === 'EPERM') return explainRlimit(error, plan, hostPid);
  return undefined;
}

/** Exit code 127 for what is not there, 126 for what can't be executed, as docker has it. */
function explainExec(error: SyscallError, plan: Plan, hostPid: number): ContainerError {
  const quoted = /^execve\(("(?:[^"\\]|\\.)*")/.exec(error.facts.call)![1]!;
  const fault: ExecFault | undefined = ifReadable(() =>
    findExecFault(JSON.parse(quoted), error.code, plan.process.cwd, hostPid),
  );
  const reason = fault ? `: ${fault.text}` : '';
  return new ContainerError(`exec: ${quoted}: ${errnoText(error.facts.errno)}${reason}`, {
    exitCode: error.code === 'ENOENT' ? 127 : 126,
    hint: fault?.hint,
    cause: error,
  });
}

/** Source: getrlimit(2), EPERM. */
function explainRlimit(error: SyscallError, plan: Plan, hostPid: number): ContainerError | undefined {
  const lines = readFileSync(`/proc/${hostPid}/limits`, 'utf8').split('\n'); // after the heading in the order of their numbers
  const mostFiles = Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'));
  const above = (value: number, most: number) => (value === -1 ? Number.POSITIVE_INFINITY : value) > most;
  for (const [index, { name, resource, hard }] of plan.process.rlimits.entries()) {
    const present = lines[resource + 1]!.slice(26).trim().split(/\s+/)[1]!;
    const shown = hard === -1 ? 'unlimited' : String(hard);
    const more = { specPointer: `/process/rlimits/${index}`, cause: error };
    if (name === 'RLIMIT_NOFILE' && above(hard, mostFiles))
      return new ContainerError(
        `${name} can't be ${shown}: the most that this kernel gives is ${mostFiles} (fs.nr_open)`,
        more,
      );
    if (present !== 'unlimited' && above(hard, Number(present)))
      return new ContainerError(
        `${name} can't be ${shown}: the hard limit here is ${present}, and raising it takes CAP_SYS_RESOURCE`,
        more,
      );
  }
  return undefined;
}

const WNOWAIT = 0x1000000;
const P_PID = 1;
const SIGKILL = 9;
const SIGSYS = 31;

/** What killed the stage. */
function explainEnd(error: StageGone, plan: Plan, hostPid: number): ContainerError | undefined {
  const signal = signalOf(hostPid);
  if (signal === SIGSYS)
    return new ContainerError('the seccomp profile kills the process before its command runs', {
      specPointer: '/linux/seccomp',
      hint: 'the profile must allow what starts a program; try it with --security-opt seccomp=unconfined',
      cause: error,
    });
  const limit = plan.cgroup.files.find(({ file }) => file === 'memory.max');
  if (signal !== SIGKILL || !limit) return undefined;
  const kills = /^oom_kill (\d+)$/m.exec(readFileSync(`${cgroupRoot()}${plan.cgroup.path}/memory.events`, 'utf8'))?.[1];
  if (!Number(kills)) return undefined;
  return new ContainerError(
    `the memory limit of ${limit.value} bytes is too small to start anything: the kernel killed the first process`,
    {
      specPointer: '/linux/resources/memory/limit',
      hint: 'at least 6 MiB (6291456) are needed',
      cause: error,
    },
  );
}

/** A look at how a child that is ending, or has ended, ended; it stays to be reaped. Source: waitid(2), WNOWAIT. */
function signalOf(pid: number): number | undefined {
  const info = Buffer.alloc(SIGINFO_SIZE);
  syscall('waitid', [P_PID, pid, info, k.WEXITED | WNOWAIT, null]);
  const { exited, status } = readChildStatus(info);
  return exited ? undefined : status;
}
