/** Limits of the spec as cgroup v2 files. Pure. Source: runtime-spec config-linux.md "Control groups", the kernel's cgroup-v2.rst. */
import { ContainerError } from '../kernel/error.ts';
import type { Resources } from '../spec/types.ts';
import { defaultDeviceRules, deviceProgram, deviceRulesInWords } from './device-rules.ts';
import type { CgroupFile, CgroupPlan } from './plan.ts';

/** cpu.shares (2 to 262144, default 1024) to cpu.weight (1 to 10000, default 100): the quadratic formula of runc 1.3 and crun 1.23. */
export function cpuSharesToWeight(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const l = Math.log2(shares);
  return Math.ceil(10 ** ((l * l + 125 * l) / 612 - 7 / 34));
}

const orMax = (limit: number): string => (limit < 0 ? 'max' : String(limit));

/** Limits that this part of the runtime does not write yet are refused, never dropped. */
export function planCgroup(path: string, resources: Resources): CgroupPlan {
  const files: CgroupFile[] = [];
  const { memory, cpu, pids } = resources;
  if (memory?.reservation)
    throw new ContainerError('memory.reservation is not there yet', {
      specPointer: '/linux/resources/memory/reservation',
    });
  for (const key of ['cpus', 'mems'] as const)
    if (cpu?.[key])
      throw new ContainerError(`cpu.${key} is not there yet`, { specPointer: `/linux/resources/cpu/${key}` });
  if (resources.unified)
    throw new ContainerError('unified is not there yet', { specPointer: '/linux/resources/unified' });
  if (memory?.limit)
    files.push({ controller: 'memory', file: 'memory.max', value: orMax(memory.limit), option: 'memory limit' });
  if (memory?.swap) {
    // OCI's swap is memory and swap together; a kernel without swap has no file for it, and nothing to limit.
    if (memory.swap > 0 && !(memory.limit && memory.limit > 0 && memory.limit <= memory.swap))
      throw new ContainerError(
        `memory.swap is ${memory.swap}, for memory and swap together: it wants a memory.limit that is not larger`,
        { specPointer: '/linux/resources/memory/swap' },
      );
    const value = memory.swap < 0 ? 'max' : String(memory.swap - memory.limit!);
    files.push({ controller: 'memory', file: 'memory.swap.max', value, option: 'swap limit', ifPresent: true });
  }
  if (cpu?.shares)
    files.push({
      controller: 'cpu',
      file: 'cpu.weight',
      value: String(cpuSharesToWeight(cpu.shares)),
      option: 'CPU share',
    });
  if (cpu?.quota || cpu?.period)
    files.push({
      controller: 'cpu',
      file: 'cpu.max',
      value: `${orMax(cpu.quota || -1)} ${cpu.period || 100000}`,
      option: 'CPU limit',
    });
  if (pids)
    files.push({ controller: 'pids', file: 'pids.max', value: orMax(pids.limit), option: 'limit of processes' });
  // The container's own devices are always allowed, as runc and crun have it: clients send no more than "deny all".
  const rules = [...(resources.devices ?? []), ...defaultDeviceRules];
  const program = deviceProgram(rules);
  return program ? { path, files, devices: { program, words: deviceRulesInWords(rules) } } : { path, files };
}
