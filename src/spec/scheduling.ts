/**
 * How the kernel is to schedule a process, from config.json's words to the kernel's numbers. Pure.
 * Source: runtime-spec 1.3.0 config.md (scheduler, ioPriority, execCPUAffinity), config-linux.md (personality); sched_setattr(2),
 * ioprio_set(2), sched_setaffinity(2), personality(2).
 */
import { ContainerError } from '../core/kernel/error.ts';
import type { SchedulingPlan } from '../core/plan/plan.ts';
import type { Linux, Process, Scheduler } from './types.ts';

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
  nice: ['SCHED_OTHER', 'SCHED_BATCH'],
  priority: ['SCHED_FIFO', 'SCHED_RR'],
  runtime: ['SCHED_DEADLINE'],
  deadline: ['SCHED_DEADLINE'],
  period: ['SCHED_DEADLINE'],
};

/** struct sched_attr { u32 size, policy; u64 flags; s32 nice; u32 priority; u64 runtime, deadline, period }, times in nanoseconds. */
function schedAttr(scheduler: Scheduler): Uint8Array {
  const { policy, flags = [], nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0 } = scheduler;
  for (const [field, policies] of Object.entries(fields))
    if (scheduler[field as keyof Scheduler] && !policies.includes(policy))
      throw new ContainerError(`${field} means nothing for ${policy}, only for ${policies.join(' and ')}`, {
        specPointer: `/process/scheduler/${field}`,
      });
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

/** Of all the processors that its cpuset has. */
const anywhere = new Uint8Array(128).fill(0xff);

/** execCPUAffinity is for processes of exec alone, its `initial` for the one that makes them. @throws ContainerError for what does not go together */
export function planScheduling(
  process: Process,
  personality: Linux['personality'],
  execs: boolean,
): SchedulingPlan | undefined {
  const { scheduler, ioPriority, execCPUAffinity } = process;
  const plan: SchedulingPlan = {};
  if (personality?.domain) plan.personality = personalityDomains[personality.domain]!;
  if (ioPriority?.class) plan.ioPriority = (ioClasses[ioPriority.class]! << 13) | ioPriority.priority;
  if (scheduler?.policy) plan.schedAttr = schedAttr(scheduler);
  if (execs && (execCPUAffinity?.final || execCPUAffinity?.initial))
    plan.affinity = execCPUAffinity.final ? parseCpuList(execCPUAffinity.final)! : anywhere;
  return Object.keys(plan).length > 0 ? plan : undefined;
}
