/** What a container uses, as docker's stats: two samples make a row. Host side. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { totalmem } from 'node:os';
import { humanSize } from '../image/present.ts';
import { type CgroupStatistics, readStatistics } from '../lifecycle/statistics.ts';
import type { Facts } from './container-facts.ts';

export interface Sample {
  atMs: number;
  statistics: CgroupStatistics;
  /** Threads count each, as with the pids controller. */
  processes: number;
  /** Undefined where the network namespace is the host's: what others send is not the container's. */
  network: Traffic | undefined;
}

/** Bytes. */
interface Traffic {
  received: number;
  sent: number;
}

/** Undefined for a container that does not run, also one that ends just now. */
export function takeSample({ cgroup, pid }: Facts): Sample | undefined {
  if (cgroup === undefined) return undefined;
  try {
    const statistics = readStatistics(cgroup);
    const processes = statistics.pids?.current ?? threadsIn(cgroup);
    return { atMs: performance.now(), statistics, processes, network: readTraffic(pid) };
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'ESRCH'].includes((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
}

/** In the cgroup and below. Source: the kernel's cgroup-v2.rst, cgroup.threads. */
function threadsIn(cgroup: string): number {
  const own = readFileSync(`${cgroup}/cgroup.threads`, 'latin1').split('\n').filter(Boolean).length;
  const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return below.reduce((sum, { name }) => sum + threadsIn(`${cgroup}/${name}`), own);
}

/** Of all interfaces but loopback, in the network namespace of a process. Source: proc_pid_net(5), net/dev. */
function readTraffic(pid: number): Traffic | undefined {
  if (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')) return undefined;
  const lines = readFileSync(`/proc/${pid}/net/dev`, 'latin1').split('\n').slice(2).filter(Boolean);
  const interfaces = lines.map((line) => line.trim().split(/[:\s]+/)).filter(([name]) => name !== 'lo');
  const sum = (column: number) => interfaces.reduce((all, fields) => all + Number(fields[column]), 0);
  return { received: sum(1), sent: sum(9) };
}

export interface StatsRow {
  /** As it was asked for, by name or by id. */
  Container: string;
  ID: string;
  Name: string;
  CPUPerc: string;
  MemUsage: string;
  MemPerc: string;
  NetIO: string;
  BlockIO: string;
  PIDs: string;
}

/** With the keys of `docker stats --format json`; `--` where no controller counts, and zeros for what does not run. */
export function statsRow(
  asked: string,
  { record }: Facts,
  before: Sample | undefined,
  now: Sample | undefined,
): StatsRow {
  const names = { Container: asked, ID: record.id, Name: record.name ?? '' };
  const nothing = { CPUPerc: '0.00%', MemUsage: '0B / 0B', MemPerc: '0.00%', NetIO: '0B / 0B', BlockIO: '0B / 0B' };
  if (now === undefined) return { ...names, ...nothing, PIDs: '0' };
  const { memory, io } = now.statistics;
  const limit = memory && Math.min(memory.max, totalmem());
  const held = memory && Math.max(0, memory.current - (memory.stat.inactive_file ?? 0)); // what can be dropped at once is not in use
  const sum = (key: string) => Object.values(io?.stat ?? {}).reduce((all, device) => all + (device[key] ?? 0), 0);
  return {
    ...names,
    CPUPerc: `${cpuPercent(before ?? now, now).toFixed(2)}%`,
    MemUsage: held === undefined ? '--' : `${binarySize(held)} / ${binarySize(limit!)}`,
    MemPerc: held === undefined ? '--' : `${((100 * held) / limit!).toFixed(2)}%`,
    NetIO: now.network ? `${humanSize(now.network.received)} / ${humanSize(now.network.sent)}` : '--',
    BlockIO: io ? `${humanSize(sum('rbytes'))} / ${humanSize(sum('wbytes'))}` : '--',
    PIDs: String(now.processes),
  };
}

/** 100 is one processor. */
function cpuPercent(before: Sample, now: Sample): number {
  const used = (now.statistics.cpu?.stat.usage_usec ?? 0) - (before.statistics.cpu?.stat.usage_usec ?? 0);
  return (100 * Math.max(0, used)) / (Math.max(1, now.atMs - before.atMs) * 1000);
}

/** Four significant digits and a binary unit: 23.54GiB. */
export function binarySize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${Number(value.toPrecision(4))}${units[unit]}`;
}

/** Controllers that do not count for one of these. */
export function uncounted(samples: readonly Sample[]): string[] {
  return (['memory', 'io'] as const).filter((name) => samples.some(({ statistics }) => !statistics[name]));
}
