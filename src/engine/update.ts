/** `tinyctr update`: other limits and another restart policy for a container, at once if it runs, and for every later start. Host side. */
import { setTimeout } from 'node:timers/promises';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { checkControllers } from '../core/host/cgroup-controllers.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { planLimits } from '../core/plan/cgroup.ts';
import type { Resources } from '../core/spec/types.ts';
import { readRunState } from '../lifecycle/state.ts';
import { completeUpdate, readCgroupFile, updateCgroup } from '../lifecycle/update.ts';
import { type ContainerRecord, changeRecord } from './containers.ts';
import { hostReaders } from './host.ts';
import { containerEvent, tell } from './journal.ts';
import { parseRestart } from './life-options.ts';
import { resources } from './limits.ts';
import type { LimitOptions } from './options.ts';
import { changeStored, type RestartPolicy, readStored, type StoredContainer } from './stored-file.ts';
import { Problems } from './usage-error.ts';

/** What docker's update can change. */
export type UpdateOptions = Pick<
  LimitOptions,
  | 'memory'
  | 'memorySwap'
  | 'memoryReservation'
  | 'cpus'
  | 'cpuShares'
  | 'cpuQuota'
  | 'cpuPeriod'
  | 'cpusetCpus'
  | 'cpusetMems'
  | 'pidsLimit'
  | 'blkioWeight'
> & { restart?: string };

interface Change {
  /** Those that were named. */
  limits: Resources;
  restart: RestartPolicy | undefined;
}

/** How long a container that is being started may take to be there. */
const PATIENCE_MS = 10_000;
const PAUSE_MS = 20;

/** All of it is changed, or nothing. Throws UsageError for what is wrong with the options, ContainerError for what the container or the host can't have. */
export async function updateContainer(
  root: string,
  runRoot: string,
  record: ContainerRecord,
  options: UpdateOptions,
): Promise<void> {
  const { id } = record;
  const change = asked(options, readStored(root, id));
  checkControllers(cgroupRoot(), { path: '', files: planLimits(change.limits) });
  if (change.restart) keepAsItIs(root, runRoot, record, change.restart);
  let isKept = false;
  const keep = () => {
    changeStored(root, id, (stored) => changed(stored, asked(options, stored)));
    isKept = true;
  };
  for (;;) {
    const cgroup = await cgroupOfRunning(runRoot, id);
    if (cgroup !== undefined) applyTo(cgroup, change.limits, keep);
    else if (!isKept) {
      keep();
      continue; // it may have been started meanwhile
    }
    break;
  }
  tell(root, [containerEvent(record, 'update')]);
}

/** Undefined while it does not run; one that is being started is waited for. */
async function cgroupOfRunning(runRoot: string, id: string): Promise<string | undefined> {
  for (let waited = 0; waited < PATIENCE_MS; waited += PAUSE_MS) {
    const state = readRunState(runRoot, id);
    if (state === undefined || state.ended) return undefined;
    if (state.pid > 0) return state.cgroup;
    await setTimeout(PAUSE_MS);
  }
  throw new ContainerError(`container ${id.slice(0, 12)} is being started, and does not come to run`, { exitCode: 1 });
}

function applyTo(cgroup: string, limits: Resources, keep: () => void): void {
  const root = cgroupRoot();
  const complete = completeUpdate(limits, (file) => readCgroupFile(root + cgroup, file));
  if (complete.memory) complete.memory = { ...complete.memory, checkBeforeUpdate: true };
  const files = planLimits(complete);
  if (files.length === 0) keep();
  else updateCgroup(root, { path: cgroup, files }, keep);
}

/** @throws UsageError, ContainerError */
function asked(options: UpdateOptions, stored: StoredContainer): Change {
  const before = stored.wanted.spec.linux?.resources ?? {};
  const problems = new Problems();
  const { memory = wordOf(options.memorySwap && before.memory?.limit) } = options;
  const given: LimitOptions = { ...options, ...(memory === undefined ? {} : { memory }) };
  const limits = resources(given, hostReaders, problems) ?? {};
  const { restart: policy, pidsLimit } = options;
  const restart = policy === undefined ? undefined : problems.attempt(() => parseRestart(policy), undefined);
  problems.throwIfAny();
  if (pidsLimit === '-1' || pidsLimit === '0') limits.pids = { limit: -1 };
  if (limits.memory) limits.memory = memoryOf(limits.memory, before.memory, options);
  if (restart && restart.name !== 'no' && stored.rm)
    throw new ContainerError('the restart policy of a container with --rm can’t be changed: it goes with its end', {
      exitCode: 1,
    });
  return { limits, restart };
}

const wordOf = (number: number | '' | undefined): string | undefined => (number ? String(number) : undefined);

type Memory = NonNullable<Resources['memory']>;

/** Swap that nobody named stays as it is, for memory and swap together, as docker has it. */
function memoryOf(named: Memory, before: Memory = {}, { memorySwap }: UpdateOptions): Memory {
  const { swap: given, ...rest } = named;
  const swap = memorySwap === undefined ? before.swap || given : given;
  const limit = rest.limit ?? before.limit;
  if (limit && swap && swap > 0 && limit > swap)
    throw new ContainerError(
      `the memory limit of ${limit} bytes is above the present one of memory and swap together, ${swap}`,
      { hint: 'change both: --memory-swap is the sum', exitCode: 1 },
    );
  const reservation = rest.reservation ?? before.reservation;
  if (limit && reservation && reservation > limit)
    throw new ContainerError(`the reservation of ${reservation} bytes is above the memory limit of ${limit}`, {
      exitCode: 1,
    });
  return { ...rest, ...(swap && (rest.limit || memorySwap !== undefined) ? { swap } : {}) };
}

function changed(stored: StoredContainer, { limits, restart }: Change): StoredContainer {
  const { linux } = stored.wanted.spec;
  const before = linux?.resources ?? {};
  const all: Resources = { ...before };
  for (const key of ['memory', 'cpu', 'pids', 'blockIO'] as const)
    if (limits[key]) Object.assign(all, { [key]: { ...before[key], ...limits[key] } });
  const spec = { ...stored.wanted.spec, linux: { ...linux, resources: all } };
  const wanted = { ...stored.wanted, spec };
  return { ...stored, wanted, limits: planLimits(all), ...(restart && { restart }) };
}

/** What has ended, and was to stay so, is not started by a new policy; nor is one that somebody attends brought back behind his back. */
function keepAsItIs(root: string, runRoot: string, { id, started }: ContainerRecord, restart: RestartPolicy): void {
  const runs = readRunState(runRoot, id) !== undefined;
  if (runs && started === undefined && restart.name !== 'no')
    throw new ContainerError(`container ${id.slice(0, 12)} runs in the foreground: nobody would bring it back`, {
      hint: `when it has ended: tinyctr update --restart …, tinyctr start ${id.slice(0, 12)}`,
      exitCode: 1,
    });
  if (!runs)
    changeRecord(root, id, (now) => (now.ended && now.dueMs === undefined ? { ...now, stopped: true as const } : now));
}
