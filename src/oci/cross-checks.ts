/** Faults that no field shows alone: what would change the host, and what the planner refuses. Pure. */
import { ContainerError } from '../core/kernel/error.ts';
import { planLimits } from '../core/plan/cgroup.ts';
import { planMount } from '../core/plan/mounts.ts';
import { planRlimits } from '../core/plan/rlimits.ts';
import type { NamespaceType } from '../core/spec/types.ts';
import { notifyFaults } from '../seccomp/rules.ts';
import { planScheduling } from '../spec/scheduling.ts';
import type { Spec } from '../spec/types.ts';
import { type Fault, idFaults } from './id-checks.ts';

const ipcKeys = ['msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni', 'shm_rmid_forced'];

/** Which namespace a kernel setting belongs to; undefined is the host's alone. */
export function namespaceOf(name: string): NamespaceType | undefined {
  const key = name.replaceAll('/', '.');
  if (key.startsWith('net.')) return 'network';
  if (key.startsWith('fs.mqueue.') || ipcKeys.some((name) => key === `kernel.${name}`)) return 'ipc';
  return key === 'kernel.domainname' || key === 'kernel.hostname' ? 'uts' : undefined;
}

export function crossFaults(spec: Spec): Fault[] {
  const faults = idFaults(spec);
  const types = (spec.linux?.namespaces ?? []).map(({ type }) => type);
  for (const [i, type] of types.entries()) {
    const pointer = `/linux/namespaces/${i}/type`;
    if (types.indexOf(type) < i) faults.push({ pointer, problem: `is ${type}, which is there already` });
  }
  for (const field of ['hostname', 'domainname'] as const)
    if (spec[field] && !types.includes('uts'))
      faults.push({ pointer: `/${field}`, problem: 'would rename the host: there is no uts namespace' });
  for (const key of Object.keys(spec.linux?.sysctl ?? {})) faults.push(...sysctlFaults(key, types));
  for (const [i, mount] of (spec.mounts ?? []).entries()) {
    if (mount.options?.includes('tmpcopyup') && mount.type !== 'tmpfs')
      faults.push({ pointer: `/mounts/${i}/options`, problem: 'has tmpcopyup, which is for tmpfs' });
    else faults.push(...plannerFaults(() => planMount(bindAbsolute(mount), i)));
  }
  faults.push(...plannerFaults(() => planRlimits(spec.process?.rlimits ?? [])));
  faults.push(...plannerFaults(() => spec.process && planScheduling(spec.process, spec.linux, false)));
  if (spec.linux?.seccomp) faults.push(...notifyFaults(spec.linux.seccomp));
  faults.push(...plannerFaults(() => planLimits(spec.linux?.resources ?? {})));
  return faults;
}

/** A relative source is the bundle's; whose it is makes no difference here. */
function bindAbsolute(mount: NonNullable<Spec['mounts']>[number]): typeof mount {
  return mount.source === undefined || mount.source.startsWith('/') ? mount : { ...mount, source: `/${mount.source}` };
}

function sysctlFaults(name: string, types: readonly string[]): Fault[] {
  const pointer = `/linux/sysctl/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  const key = name.replaceAll('/', '.');
  if (!/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$/.test(key)) return [{ pointer, problem: 'is no name of a kernel setting' }];
  const needed = namespaceOf(name);
  if (needed === undefined) return [{ pointer, problem: 'would change the host: it belongs to no namespace' }];
  if (types.includes(needed)) return [];
  return [{ pointer, problem: `would change the host: there is no ${needed} namespace` }];
}

/** The planner's own sentence, with its pointer. */
export function plannerFaults(plan: () => unknown): Fault[] {
  try {
    plan();
    return [];
  } catch (error) {
    if (!(error instanceof ContainerError) || error.specPointer === undefined) throw error;
    return [{ pointer: error.specPointer, problem: `is refused: ${error.message}` }];
  }
}
