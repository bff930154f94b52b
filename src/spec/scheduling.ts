/**
 * How the kernel is to schedule a process, from config.json's words to the kernel's numbers. Pure.
 * Source: runtime-spec 1.3.0 config.md (scheduler, ioPriority, execCPUAffinity), config-linux.md (personality, memoryPolicy);
 * sched_setattr(2), ioprio_set(2), sched_setaffinity(2), set_mempolicy(2), personality(2).
 */
import { ContainerError } from '../core/kernel/error.ts';
import type { SchedulingPlan } from '../core/plan/plan.ts';
import type { Linux, MemoryPolicy, Process, Scheduler } from './types.ts';

export const schedulerPolicies: Readonly<Record<string, number>> = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
};
export const schedulerFlags: Readonly<Record<string, number>> = {
  SCHED_FLAG_RESET_ON_FORK: 1,
  SCHED_FLAG_RECLAIM: 2,
  SCHED_FLAG_DL_OVERRUN: 4,
  SCHED_FLAG_KEEP_POLICY: 8,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
};
export const ioClasses: Readonly<Record<string, number>> = {
  IOPRIO_CLASS_RT: 1,
  IOPRIO_CLASS_BE: 2,
  IOPRIO_CLASS_IDLE: 3,
};
export const personalityDomains: Readonly<Record<string, number>> = { LINUX: 0, LINUX32: 8 };
/** Source: linux/mempolicy.h. */
export const memoryPolicyModes: Readonly<Record<string, number>> = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
};
export const memoryPolicyFlags: Readonly<Record<string, number>> = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
};

/** "0-3,7" as a mask, a bit a processor; undefined if it is none. Source: cpuset(7), "List format". */
export function parseCpuList(text: string): Uint8Array | undefined {
  const mask = new Uint8Array(1024);
  let length = 0;
  for (const part of text.split(',')) {
    const [, first, last = first] = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first) || Number(last) >= 8 * mask.length) return undefined;
    for (let cpu = Number(first); cpu <= Number(last); cpu++) mask[cpu >> 3]! |= 1 << (cpu & 7);
    length = Math.max(length, Number(last) + 1);
  }
  return mask.slice(0, 8 * Math.ceil(length / 64));
}

/** The kernel would say EINVAL, and not why. */
const fields: Record<string, readonly string[]> = {
  nice: ['SCHED_OTHER', 'SCHED_BATCH', 'SCHED_DEADLINE'], // the last takes it for after a SCHED_FLAG_RESET_ON_FORK
  priority: ['SCHED_FIFO', 'SCHED_RR'],
  runtime: ['SCHED_DEADLINE'],
  deadline: ['SCHED_DEADLINE'],
  period: ['SCHED_DEADLINE'],
};

/** Source: sched_setattr(2), SCHED_DEADLINE: runtime <= deadline <= period, and none below 1024 or from 2^63 on. */
function checkDeadline({ runtime, deadline, period }: Scheduler): void {
  const fault = (field: string, problem: string) =>
    new ContainerError(`sched_setattr: \`SCHED_DEADLINE\` ${problem}`, { specPointer: `/process/scheduler/${field}` });
  if (runtime === undefined) throw fault('runtime', 'requires `runtime`');
  if (runtime === 0) throw fault('runtime', 'runtime must be greater than 0');
  if (!deadline) throw fault('deadline', 'requires `deadline`');
  if (runtime < 1024 || runtime >= 2 ** 63)
    throw fault('runtime', `runtime (${runtime}) must be between 1024 and ${2n ** 63n - 1n} nanoseconds`);
  if (runtime > deadline) throw fault('runtime', `runtime (${runtime}) must be <= deadline (${deadline})`);
  if (period && deadline > period) throw fault('deadline', `deadline (${deadline}) must be <= period (${period})`);
}

/** struct sched_attr { u32 size, policy; u64 flags; s32 nice; u32 priority; u64 runtime, deadline, period }, times in nanoseconds. */
function schedAttr(scheduler: Scheduler): Uint8Array {
  const { policy, flags = [], nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0 } = scheduler;
  for (const [field, policies] of Object.entries(fields))
    if (scheduler[field as keyof Scheduler] && !policies.includes(policy))
      throw new ContainerError(`${field} means nothing for ${policy}, only for ${policies.join(' and ')}`, {
        specPointer: `/process/scheduler/${field}`,
      });
  if (policy === 'SCHED_DEADLINE') checkDeadline(scheduler);
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint32(4, schedulerPolicies[policy]!, true);
  view.setBigUint64(8, BigInt(flags.reduce((all, flag) => all | schedulerFlags[flag]!, 0)), true);
  view.setInt32(16, nice, true);
  view.setUint32(20, priority, true);
  for (const [i, time] of [runtime, deadline, period].entries()) view.setBigUint64(24 + 8 * i, BigInt(time), true);
  return bytes;
}

/** Which modes want nodes, and which can't have any; the kernel would say EINVAL, and not why. */
const withNodes = ['MPOL_BIND', 'MPOL_INTERLEAVE', 'MPOL_PREFERRED_MANY', 'MPOL_WEIGHTED_INTERLEAVE'];

/** set_mempolicy(mode | flags, nodemask, maxnode). The kernel counts one node less than it is told. */
function memoryPolicyArgs({ mode, nodes = '', flags = [] }: MemoryPolicy): (number | Uint8Array)[] {
  const number = flags.reduce((all, flag) => all | memoryPolicyFlags[flag]!, memoryPolicyModes[mode]!);
  if (nodes === '' && withNodes.includes(mode))
    throw new ContainerError(`invalid memory policy nodes: ${mode} needs some`, {
      specPointer: '/linux/memoryPolicy/nodes',
    });
  const mask = nodes === '' ? undefined : parseCpuList(nodes)!;
  return mask ? [number, mask, 8 * mask.length + 1] : [number, 0, 0];
}

/** Of all the processors that its cpuset has. */
const anywhere = new Uint8Array(128).fill(0xff);

/**
 * The calls, in their order. Without an affinity of its own a process gets all processors of its cpuset, whatever the caller
 * was bound to. execCPUAffinity is for processes of exec alone, its `initial` for the one that makes them.
 * @throws ContainerError for what does not go together
 */
export function planScheduling(process: Process, linux: Linux | undefined, execs: boolean): SchedulingPlan {
  const { scheduler, ioPriority, execCPUAffinity } = process;
  const { personality, memoryPolicy } = linux ?? {};
  const affinity = (execs && execCPUAffinity?.final && parseCpuList(execCPUAffinity.final)) || anywhere;
  const priority = ioPriority?.class ? (ioClasses[ioPriority.class]! << 13) | ioPriority.priority : undefined;
  return [
    { name: 'sched_setaffinity', args: [0, affinity.length, affinity] },
    ...(scheduler?.policy ? [{ name: 'sched_setattr', args: [0, schedAttr(scheduler), 0] } as const] : []),
    ...(priority === undefined ? [] : [{ name: 'ioprio_set', args: [1, 0, priority] } as const]),
    ...(memoryPolicy?.mode ? [{ name: 'set_mempolicy', args: memoryPolicyArgs(memoryPolicy) } as const] : []),
    ...(personality?.domain ? [{ name: 'personality', args: [personalityDomains[personality.domain]!] } as const] : []),
  ];
}
