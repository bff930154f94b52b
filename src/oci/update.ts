/** `update`: new limits for a container that lives. Host side. */
import { existsSync, readFileSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { planLimits } from '../core/plan/cgroup.ts';
import type { Resources } from '../core/spec/types.ts';
import { didYouMean } from '../engine/nearest.ts';
import { UsageError } from '../engine/usage-error.ts';
import { completeUpdate, readCgroupFile, updateCgroup } from '../lifecycle/update.ts';
import { validateResources } from '../spec/validate.ts';
import { parseJson } from './config.ts';
import { lockContainer } from './state.ts';

/** All of them are changed, or none. Device rules stay as they are, as in runc: clients send them along. */
export function updateContainer(root: string, id: string, resources: Resources): void {
  const { state, status, lock } = lockContainer(root, id);
  try {
    if (status === 'stopped' || status === 'creating') throw new ContainerError(`container not running: ${status}`);
    const cgroups = cgroupRoot();
    const complete = completeUpdate(resources, (file) => readCgroupFile(cgroups + state.cgroup, file));
    updateCgroup(cgroups, { path: state.cgroup, files: planLimits(complete) });
  } finally {
    lock.release();
  }
}

/** linux.resources as JSON; "-" is standard input. @throws UsageError with every fault */
export function readResources(file: string, warn: (message: string) => void): Resources {
  if (file !== '-' && !existsSync(file)) throw new ContainerError(`--resources ${file}: no such file or directory`);
  const name = file === '-' ? 'standard input' : file;
  return checkResources(parseJson(readFileSync(file === '-' ? 0 : file, 'utf8'), name), name, warn);
}

/** `from` names where they came from. */
export function checkResources(value: unknown, from: string, warn: (message: string) => void): Resources {
  const { faults, unknown } = validateResources(value);
  if (faults.length > 0)
    throw new UsageError(faults.map(({ pointer, problem }) => `${from}: ${pointer || 'the whole'} ${problem}`));
  for (const { pointer, name, known } of unknown)
    warn(`${from}: ${pointer} is unknown and ignored${didYouMean(name, known)}`);
  return value as Resources;
}
