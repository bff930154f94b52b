/**
 * Facts that prove why a step failed, read from the host while the half-built container still stands. Host side.
 * An error that nothing was found out about comes back as it was.
 */
import { readFileSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { syscall } from '../core/host/syscall.ts';
import { WEXITED } from '../core/kernel/constants.ts';
import { errnoText } from '../core/kernel/errno.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import { readChildStatus, SIGINFO_SIZE } from '../core/kernel/structs.ts';
import type { Plan } from '../core/plan/plan.ts';
import { StageGone } from '../core/stage/stage.ts';
import { explainBirth } from './cgroup.ts';
import { findExecFault } from './exec.ts';
import { explainIdmap, explainJoin, explainOffsets } from './ids.ts';
import { explainPivotRoot, explainProc, explainRemount } from './mount.ts';

/** What of a plan explains a failure; for exec there is only the process, for a command under limits the cgroup as well. */
type Planned = { process: Pick<Plan['process'], 'cwd' | 'rlimits'> } & Partial<
  Pick<Plan, 'mounts' | 'cgroup' | 'namespaces' | 'root'>
>;

/** `hostPid` is the stage's, a child of this process that was not reaped yet, or 0 if there is none. Never throws. */
export function explainFailure(error: unknown, plan: Planned, hostPid: number): unknown {
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

function explain(error: unknown, plan: Planned, hostPid: number): ContainerError | undefined {
  if (error instanceof StageGone) return explainEnd(error, plan, hostPid);
  if (!(error instanceof SyscallError)) return error instanceof Error ? explain(error.cause, plan, hostPid) : undefined;
  const { syscall: name } = error.facts;
  const remount = explainRemount(error, plan);
  if (remount) return remount;
  if (name === 'execve') return explainExec(error, plan, hostPid);
  if (name === 'clone3' && error.code === 'ENOMEM') return explainMemory(error, plan, /^max [1-9]\d*$/m);
  if (name === 'clone3' && error.code === 'EACCES' && plan.cgroup) return explainBirth(error, plan.cgroup.path);
  if (name === 'pivot_root') return explainPivotRoot(error, hostPid);
  if (name === 'fsmount' && error.code === 'EPERM') return explainProc(error, plan, hostPid);
  if (name === 'setns') return explainJoin(error, plan);
  if (name === 'sendmsg' && error.facts.step === 'seccomp') return explainListener(error);
  if (name === 'write') return explainOffsets(error, plan);
  if (name === 'mount_setattr') return explainIdmap(error, plan);
  if (name === 'prlimit64' && error.code === 'EPERM') return explainRlimit(error, plan, hostPid);
  return undefined;
}

/** Exit code 127 for what is not there, 126 for what can't be executed, as docker has it. */
function explainExec(error: SyscallError, plan: Planned, hostPid: number): ContainerError {
  const quoted = /^execve\(("(?:[^"\\]|\\.)*")/.exec(error.facts.call)![1]!;
  const fault = ifReadable(() => findExecFault(JSON.parse(quoted), error.code, plan.process.cwd, hostPid));
  return new ContainerError(`exec: ${quoted}: ${errnoText(error.facts.errno)}${fault ? `: ${fault.text}` : ''}`, {
    exitCode: error.code === 'ENOENT' ? 127 : 126,
    hint: fault?.hint,
    cause: error,
  });
}

/** Source: getrlimit(2), EPERM. */
function explainRlimit(error: SyscallError, plan: Planned, hostPid: number): ContainerError | undefined {
  const lines = readFileSync(`/proc/${hostPid}/limits`, 'utf8').split('\n'); // a heading, then in the order of the numbers
  const mostFiles = Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'));
  for (const [index, { name, resource, hard }] of plan.process.rlimits.entries()) {
    const wanted = hard === -1 ? Number.POSITIVE_INFINITY : hard;
    const present = lines[resource + 1]!.slice(26).trim().split(/\s+/)[1]!;
    const why =
      name === 'RLIMIT_NOFILE' && wanted > mostFiles
        ? `the most that this kernel gives is ${mostFiles} (fs.nr_open)`
        : `the hard limit here is ${present}, and raising it takes CAP_SYS_RESOURCE`;
    if (wanted > Number(present.replace('unlimited', 'Infinity')) || why.endsWith('(fs.nr_open)'))
      return new ContainerError(`${name} can't be set to ${hard === -1 ? 'unlimited' : hard}: ${why}`, {
        specPointer: `/process/rlimits/${index}`,
        cause: error,
      });
  }
  return undefined;
}

/** The one call that the stage makes by which something goes to an agent. */
export function explainListener(error: SyscallError): ContainerError {
  return new ContainerError(
    'the seccomp profile must let sendmsg through: by it the listener for SCMP_ACT_NOTIFY is handed on',
    { specPointer: '/linux/seccomp', cause: error },
  );
}

const P_PID = 1;
const WNOWAIT = 0x1000000;
const SIGKILL = 9;
const SIGSYS = 31;

/** What killed the stage; it stays to be reaped. Source: waitid(2), WNOWAIT. */
function explainEnd(error: StageGone, plan: Planned, hostPid: number): ContainerError | undefined {
  const info = Buffer.alloc(SIGINFO_SIZE);
  syscall('waitid', [P_PID, hostPid, info, WEXITED | WNOWAIT, null]);
  const { exited, status: signal } = readChildStatus(info);
  if (exited) return undefined;
  if (signal === SIGSYS)
    return new ContainerError('the seccomp profile kills the process before its command runs', {
      specPointer: '/linux/seccomp',
      hint: 'the profile must allow execve and what comes before it; --security-opt seccomp=unconfined shows the difference',
      cause: error,
    });
  return signal === SIGKILL ? explainMemory(error, plan, /^oom_kill [1-9]\d*$/m) : undefined;
}

/** If the cgroup's memory.events counts what the kernel does at the limit. Source: the kernel's cgroup-v2.rst. */
function explainMemory(error: unknown, { cgroup }: Planned, count: RegExp): ContainerError | undefined {
  const limit = cgroup?.files.find(({ file }) => file === 'memory.max');
  const proof = cgroup && limit && count.exec(readFileSync(`${cgroupRoot()}${cgroup.path}/memory.events`, 'utf8'));
  if (!limit || !proof) return undefined;
  return new ContainerError(`the memory limit of ${limit.value} bytes is too small to start anything`, {
    specPointer: '/linux/resources/memory/limit',
    hint: `the limit was hit (memory.events: ${proof[0]}); give at least 6m`,
    cause: error,
  });
}
