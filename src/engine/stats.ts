/** What a container uses, as docker's stats: two samples make a row. Host side. */
import { totalmem } from 'node:os';
import { humanSize } from '../image/present.ts';
import { processesIn } from '../lifecycle/processes.ts';
import { type CgroupStatistics, readStatistics } from '../lifecycle/statistics.ts';
import type { ContainerRecord } from './containers.ts';

export interface Sample {
  atMs: number;
  statistics: CgroupStatistics;
  /** Counted, where the kernel has no pids controller for it. */
  processes: number;
}

/** Undefined where the cgroup is gone. */
export function takeSample(cgroup: string): Sample | undefined {
  try {
    const statistics = readStatistics(cgroup);
    return { atMs: performance.now(), statistics, processes: statistics.pids?.current ?? processesIn(cgroup).length };
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
}

/** With the keys of `docker stats --format json` that mean something here; `--` where no controller counts. */
export function statsRow({ id, name }: ContainerRecord, before: Sample, now: Sample) {
  const used = (now.statistics.cpu?.stat.usage_usec ?? 0) - (before.statistics.cpu?.stat.usage_usec ?? 0);
  const elapsed = Math.max(1, now.atMs - before.atMs) * 1000;
  const { memory, io } = now.statistics;
  const limit = memory && Math.min(memory.max, totalmem());
  const sum = (key: string) => Object.values(io?.stat ?? {}).reduce((all, device) => all + (device[key] ?? 0), 0);
  return {
    ID: id.slice(0, 12),
    Name: name ?? '',
    CPUPerc: `${((100 * used) / elapsed).toFixed(2)}%`,
    MemUsage: memory ? `${humanSize(memory.current)} / ${humanSize(limit!)}` : '--',
    MemPerc: memory ? `${((100 * memory.current) / limit!).toFixed(2)}%` : '--',
    BlockIO: io ? `${humanSize(sum('rbytes'))} / ${humanSize(sum('wbytes'))}` : '--',
    PIDs: String(now.processes),
  };
}
