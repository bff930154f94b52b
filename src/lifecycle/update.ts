/** Limits changed while the cgroup lives, all of them or none. Host side. Source: the kernel's cgroup-v2.rst. */
import { existsSync, readFileSync } from 'node:fs';
import { chosenFile, writeLimit, writeLine } from '../core/host/cgroup.ts';
import { checkControllers, enableControllers } from '../core/host/cgroup-controllers.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { CgroupPlan } from '../core/plan/plan.ts';
import type { Resources } from '../core/spec/types.ts';

/** The content of a file of the cgroup; undefined where there is none, or it can't be read. */
export function readCgroupFile(folder: string, file: string): string | undefined {
  try {
    return readFileSync(`${folder}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Changes limits of a cgroup that lives; `root` is where the hierarchy is mounted. If one is refused, or `keep` throws, which comes last, those before it get back what they had.
 * @throws ContainerError
 */
export function updateCgroup(root: string, plan: CgroupPlan, keep = () => {}): void {
  const folder = root + plan.path;
  if (!existsSync(folder)) throw new ContainerError(`the cgroup ${plan.path} is not there`);
  checkControllers(root, plan);
  enableControllers(root, plan);
  for (const { above, value, option } of plan.files) {
    const use = above && Number(readCgroupFile(folder, above));
    if (use && Number(value) <= use)
      throw new ContainerError(`the ${option} of ${value} is not above the present use of ${use} bytes`, {
        hint: 'the kernel would reclaim, and kill if that is not enough',
      });
  }
  const written: { file: string; value: string; before: string | undefined }[] = [];
  try {
    for (const limit of plan.files) {
      const { file, value } = chosenFile(folder, limit);
      written.push({ file, value, before: readCgroupFile(folder, file) });
      writeLimit(folder, limit);
    }
    keep();
  } catch (error) {
    for (const { file, value, before } of written.reverse())
      if (before !== undefined) restore(folder, file, value, before);
    throw error;
  }
}

/** What a device gets to have no line in a file of one line a device. */
const nothing: Record<string, string> = {
  ...{ 'io.max': 'rbps=max wbps=max riops=max wiops=max', 'rdma.max': 'hca_handle=max hca_object=max' },
  ...{ 'io.weight': 'default', 'io.bfq.weight': 'default' },
};

function restore(folder: string, file: string, value: string, before: string): void {
  const lines = before.trimEnd().split('\n');
  const keys = nothing[file] ? value.split('\n').map((line) => line.split(' ')[0]!) : [];
  const news = keys.filter((key) => /\D/.test(key) && !lines.some((line) => line.startsWith(`${key} `)));
  for (const line of [...news.map((key) => `${key} ${nothing[file]}`), ...lines])
    try {
      if (line !== '' || !nothing[file]) writeLine(`${folder}/${file}`, line);
    } catch {
      // The error that is being reported matters more.
    }
}

/**
 * An update that names one half of a pair, with the other half as it is now: quota and period share a file, and swap is a
 * sum with the limit. `now` has what stands in the cgroup's files. @throws ContainerError if the sum is exceeded
 */
export function completeUpdate(resources: Resources, now: (file: string) => string | undefined): Resources {
  const { memory, cpu } = resources;
  const number = (text = ''): number => (text.startsWith('max') ? -1 : Number.parseInt(text, 10) || 0);
  const complete = { ...resources };
  if (cpu?.quota || cpu?.period) {
    const [quota, period] = (now('cpu.max') ?? '').trim().split(' ');
    complete.cpu = { ...cpu, quota: cpu.quota || number(quota), period: cpu.period || number(period) };
  }
  const limit = number(now('memory.max'));
  const swap = number(now('memory.swap.max'));
  if (memory?.swap && !memory.limit) complete.memory = { ...memory, limit };
  if (memory?.limit && memory.limit > 0 && !memory.swap && limit > 0 && swap >= 0 && now('memory.swap.max')) {
    if (memory.limit > limit + swap)
      throw new ContainerError(
        `the memory limit ${memory.limit} is above the present limit of memory and swap together, ${limit + swap}`,
        { hint: 'change both: memory.swap is the sum', specPointer: '/linux/resources/memory/limit' },
      );
    complete.memory = { ...memory, swap: limit + swap };
  }
  return complete;
}
