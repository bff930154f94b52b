/** Which limits a cgroup has hit, told before it is removed: at most one file is read for each limit that there is. Host side. */
import { readFileSync } from 'node:fs';
import type { CgroupFile } from '../core/plan/plan.ts';

export interface Hit {
  limit: 'memory' | 'pids' | 'cpu';
  /** One sentence for the user. */
  text: string;
  /** The same as numbers: bytes, counts, microseconds; 'max' where there is no limit. */
  facts: Record<string, number | string>;
}

/** Throttling below this is how a limit of CPU time works at all, and not told: half of the periods, and a second lost. */
const worthTelling = { share: 0.5, us: 1_000_000 };

const KILLED = 137;

/**
 * `files` are the limits that were written, `exitCode` the end of the cgroup's first process; `everything` tells of any throttling.
 * Source: the kernel's cgroup-v2.rst, memory.events, pids.events, cpu.stat.
 */
export function readHits(folder: string, files: readonly CgroupFile[], exitCode: number, everything = false): Hit[] {
  const limit = (file: string) => files.find((each) => each.file === file)?.value;
  const hits: (Hit | undefined)[] = [];
  if (limit('memory.max') !== undefined || exitCode === KILLED)
    hits.push(memoryHit(folder, limit('memory.max') ?? 'max', exitCode));
  if (limit('pids.max') !== undefined) hits.push(pidsHit(folder, limit('pids.max')!));
  if (limit('cpu.max') !== undefined) hits.push(cpuHit(folder, limit('cpu.max')!, everything));
  return hits.filter((hit) => hit !== undefined);
}

/** By limit, for the record of a container. */
export type HitFacts = Partial<Record<Hit['limit'], Hit['facts']>>;

export const factsOf = (hits: readonly Hit[]): HitFacts =>
  Object.fromEntries(hits.map(({ limit, facts }) => [limit, facts]));

function memoryHit(folder: string, limit: string, exitCode: number): Hit | undefined {
  const { oom_kill: kills = 0, oom = 0 } = readNumbers(`${folder}/memory.events`);
  if (kills === 0) return undefined;
  const { oom: own = 0 } = readNumbers(`${folder}/memory.events.local`);
  const peak = Number(readText(`${folder}/memory.peak`)); // Linux 5.19
  const who =
    exitCode === KILLED ? 'killed by the kernel' : `the kernel killed ${count(kills, 'process', 'processes')}`;
  const where =
    own > 0
      ? `memory limit ${sizeInWords(Number(limit))} reached`
      : oom > 0
        ? 'the memory limit of a cgroup below it reached'
        : 'out of memory, by the limit of a cgroup above it or the machine’s';
  return {
    limit: 'memory',
    text: `${who}: ${where}${peak ? `, peak ${sizeInWords(peak)}` : ''}`,
    facts: { memoryLimit: limit === 'max' ? limit : Number(limit), ...(peak && { memoryPeak: peak }), oomKills: kills },
  };
}

function pidsHit(folder: string, limit: string): Hit | undefined {
  const { max: refused = 0 } = readNumbers(`${folder}/pids.events`);
  if (refused === 0) return undefined;
  const text = `${refused === 1 ? 'once' : `${refused} times`} a process was refused: limit ${limit}`;
  return { limit: 'pids', text, facts: { pidsLimit: Number(limit), refused } };
}

function cpuHit(folder: string, limit: string, everything: boolean): Hit | undefined {
  const {
    nr_periods: periods = 0,
    nr_throttled: throttled = 0,
    throttled_usec: us = 0,
  } = readNumbers(`${folder}/cpu.stat`);
  const told = everything ? throttled > 0 : us >= worthTelling.us && throttled > periods * worthTelling.share;
  if (!told) return undefined;
  const [quota, period] = limit.split(' ').map(Number) as [number, number];
  return {
    limit: 'cpu',
    text: `throttled in ${throttled} of ${periods} periods, ${(us / 1e6).toFixed(1)} s in all: limit ${Number((quota / period).toFixed(2))} CPUs`,
    facts: { cpuQuota: quota, cpuPeriod: period, periods, throttled, throttledUs: us },
  };
}

/** 33554432 is 32 MiB; what is no whole number of a unit has one digit after the point. */
export function sizeInWords(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  return `${Number((bytes / 1024 ** power).toFixed(1))} ${units[power]}`;
}

function count(n: number, one: string, more: string): string {
  return `${n} ${n === 1 ? one : more}`;
}

/** What was used in all, as far as the kernel counts it here: cpu.stat counts without its controller as well. */
export function readUse(folder: string): string {
  const peak = Number(readText(`${folder}/memory.peak`));
  const processes = Number(readText(`${folder}/pids.peak`));
  const { usage_usec: us = 0 } = readNumbers(`${folder}/cpu.stat`);
  return [
    `${(us / 1e6).toFixed(2)} s of CPU time`,
    ...(peak ? [`${sizeInWords(peak)} of memory at most`] : []),
    ...(processes ? [`${count(processes, 'process', 'processes')} at most`] : []),
  ].join(', ');
}

/** A flat keyed file such as memory.events; empty where there is none. */
function readNumbers(path: string): Record<string, number> {
  const pairs = readText(path)
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ') as [string, string]);
  return Object.fromEntries(pairs.map(([key, value]) => [key, Number(value)]));
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return '';
    throw error;
  }
}
