/** What is known of a container: for ps, inspect and events. What is true in the kernel comes first. Host side. */
import { readFileSync, statSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { humanAge } from '../image/present.ts';
import { type Life, lifeOf } from '../lifecycle/first-process.ts';
import { readRunState } from '../lifecycle/state.ts';
import { bootId, type ContainerRecord, isLost, readRecord } from './containers.ts';
import { lookAtStored } from './stored-file.ts';

/** In the run root, as native-shim/keeper.h has it. */
export const KEEPER_LOCK = '.supervisor.lock';

export type Status = 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'damaged';

export interface Facts {
  record: ContainerRecord;
  status: Status;
  /** What is wrong with a file of its; it may run all the same. */
  damage: string | undefined;
  /** 0 while it does not run. */
  pid: number;
  /** On the host; undefined while it does not run. */
  cgroup: string | undefined;
  isPaused: boolean;
  /** Milliseconds since its first process was born, by the clock of the boot. */
  upMs: number;
}

/** Not to be removed as it is; listed without --all. */
export const isUp = ({ cgroup, status }: Pick<Facts, 'cgroup' | 'status'>): boolean =>
  cgroup !== undefined || status === 'restarting';

/** Of each container. What runs is told by the kernel: a cgroup with living processes; of the dead `cleanup` has been told by locks. */
export function factsOf(root: string, runRoot: string, records: readonly ContainerRecord[]): Facts[] {
  const top = records.length > 0 ? cgroupRoot() : '';
  return records.map((found) => {
    const state = readRunState(runRoot, found.id);
    const life = state && lifeOf(top, state);
    const damage = found.damage ?? damageOfStored(root, found.id) ?? state?.damage;
    const record = state?.ended && !found.ended ? { ...found, ended: state.ended } : found;
    const { pid = 0, isFrozen: isPaused = false, upMs = 0 } = life ?? {};
    const cgroup = life && top + state.cgroup;
    return { record, status: statusOf(runRoot, record, damage, life), damage, pid, cgroup, isPaused, upMs };
  });
}

/** None of a container that somebody removes just now: its files go one after the other. */
function damageOfStored(root: string, id: string): string | undefined {
  const { damage } = lookAtStored(root, id);
  return damage !== undefined && readRecord(root, id) ? damage : undefined;
}

function statusOf(
  runRoot: string,
  record: ContainerRecord,
  damage: string | undefined,
  life: Life | undefined,
): Status {
  if (damage !== undefined) return 'damaged';
  if (life) return life.isFrozen ? 'paused' : 'running';
  if (record.dueMs !== undefined && record.boot === bootId() && isKept(runRoot)) return 'restarting';
  return record.ended || record.started || isLost(record) ? 'exited' : 'created';
}

/** Somebody is there who will start what is to be started: the keeper holds its lock. proc_locks(5): asking for the lock itself could keep a keeper from beginning. */
function isKept(runRoot: string): boolean {
  const ino = statSync(`${runRoot}/${KEEPER_LOCK}`, { throwIfNoEntry: false })?.ino;
  const locks = readFileSync('/proc/locks', 'latin1');
  return ino !== undefined && new RegExp(`FLOCK +ADVISORY +WRITE \\d+ [0-9a-f]+:[0-9a-f]+:${ino} `).test(locks);
}

const span = (ms: number): string => humanAge(new Date(0).toISOString(), ms).replace(/ ago$/, '');

const hitWords = { memory: 'out of memory', pids: 'processes refused', cpu: 'throttled' };

/** docker's column STATUS, and which limits it hit. */
export function statusText({ record, status, damage, cgroup, isPaused, upMs }: Facts, now: number): string {
  const { ended, started } = record;
  const up = cgroup === undefined ? '' : `Up ${span(upMs)}${isPaused ? ' (Paused)' : ''}`;
  if (damage !== undefined) return [`Damaged: ${damage}`, ...(up ? [up] : [])].join(', ');
  if (up) return up;
  if (isLost(record)) return 'Lost: the machine was started anew (tinyctr cleanup)';
  if (!ended) return started === undefined ? 'Created' : 'Exited: how is not written down yet';
  if (status === 'restarting') return `Restarting (${ended.exitCode}) ${humanAge(ended.at, now)}`;
  const hit = Object.keys(ended.limitsHit ?? {}) as (keyof typeof hitWords)[];
  return [`Exited (${ended.exitCode}) ${humanAge(ended.at, now)}`, ...hit.map((limit) => hitWords[limit])].join(', ');
}
