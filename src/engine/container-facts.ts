/** What is known of a container: for ps, inspect and events. What is true in the kernel comes first. Host side. */
import { readFileSync, statSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { humanAge } from '../image/present.ts';
import { readRunState } from '../lifecycle/state.ts';
import { bootId, type ContainerRecord, isLost } from './containers.ts';

/** In the run root, as native-shim/keeper.h has it. */
export const KEEPER_LOCK = '.supervisor.lock';

export type Status = 'created' | 'running' | 'paused' | 'restarting' | 'exited';

/** Not to be removed as it is; listed without --all. */
export const isUp = (status: Status): boolean => ['running', 'paused', 'restarting'].includes(status);

export interface Facts {
  record: ContainerRecord;
  status: Status;
  /** 0 while it does not run. */
  pid: number;
  /** On the host; undefined while it does not run. */
  cgroup: string | undefined;
}

/** Of each container; who runs is told by locks, which `cleanup` has looked at. */
export function factsOf(runRoot: string, records: readonly ContainerRecord[]): Facts[] {
  const top = records.length > 0 ? cgroupRoot() : '';
  return records.map((record) => {
    const state = readRunState(runRoot, record.id);
    const cgroup = state && top + state.cgroup;
    return { record, status: statusOf(runRoot, record, cgroup), pid: state?.pid ?? 0, cgroup };
  });
}

function statusOf(runRoot: string, record: ContainerRecord, cgroup: string | undefined): Status {
  if (cgroup !== undefined) return isFrozen(cgroup) ? 'paused' : 'running';
  if (record.dueMs !== undefined && record.boot === bootId() && isKept(runRoot)) return 'restarting';
  return record.ended || record.started || isLost(record) ? 'exited' : 'created';
}

/** Somebody is there who will start what is to be started: the keeper holds its lock. proc_locks(5): asking for the lock itself could keep a keeper from beginning. */
function isKept(runRoot: string): boolean {
  const ino = statSync(`${runRoot}/${KEEPER_LOCK}`, { throwIfNoEntry: false })?.ino;
  const locks = readFileSync('/proc/locks', 'latin1');
  return ino !== undefined && new RegExp(`FLOCK +ADVISORY +WRITE \\d+ [0-9a-f]+:[0-9a-f]+:${ino} `).test(locks);
}

function isFrozen(cgroup: string): boolean {
  try {
    return /^frozen 1$/m.test(readFileSync(`${cgroup}/cgroup.events`, 'utf8'));
  } catch {
    return false; // it is not there yet, or no more
  }
}

const span = (from: string, now: number): string => humanAge(from, now).replace(/ ago$/, '');

const hitWords = { memory: 'out of memory', pids: 'processes refused', cpu: 'throttled' };

/** docker's column STATUS, and which limits it hit. */
export function statusText({ record, status }: Facts, now: number): string {
  const { started, created, ended } = record;
  const up = `Up ${span(started ?? created, now)}`;
  if (status === 'running') return up;
  if (status === 'paused') return `${up} (Paused)`;
  if (isLost(record)) return 'Lost: the machine was started anew (tinyctr cleanup)';
  if (!ended) return 'Created';
  if (status === 'restarting') return `Restarting (${ended.exitCode}) ${humanAge(ended.at, now)}`;
  const hit = Object.keys(ended.limitsHit ?? {}) as (keyof typeof hitWords)[];
  return [`Exited (${ended.exitCode}) ${humanAge(ended.at, now)}`, ...hit.map((limit) => hitWords[limit])].join(', ');
}
