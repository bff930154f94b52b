/** What a cgroup uses, and what its limits did, as one record. Host side. Source: the kernel's cgroup-v2.rst, psi.rst. */
import { readdirSync } from 'node:fs';
import { readCgroupFile } from './update.ts';

/** A flat keyed file: usage_usec, nr_throttled, oom_kill, anon and so on, in the kernel's spelling. */
export type Counters = Record<string, number>;

/** avg10, avg60 and avg300 in percent, total in microseconds. `full` is missing where the kernel doesn't tell it. */
export interface Pressure {
  some: Counters;
  full?: Counters;
}

/** In bytes or numbers; Infinity is no limit. `peak` is missing on old kernels. */
export interface Usage {
  current: number;
  max: number;
  peak?: number;
  events?: Counters;
}

/**
 * The files of a cgroup by their names: `memory.swap.current` is memory.swap.current. A controller that is not enabled for
 * the cgroup has none (cpu.stat counts the time even so), and is missing here.
 */
export interface CgroupStatistics {
  /** usage_usec, user_usec, system_usec; with the controller nr_periods, nr_throttled, throttled_usec. */
  cpu?: { stat: Counters; pressure?: Pressure };
  /** events: low, high, max, oom, oom_kill, also of the cgroups below. */
  memory?: Usage & { low: number; stat: Counters; swap?: Usage; pressure?: Pressure };
  /** events.max counts refused forks. */
  pids?: Usage;
  /** By MAJOR:MINOR: rbytes, wbytes, rios, wios, dbytes, dios. */
  io?: { stat: Record<string, Counters>; pressure?: Pressure };
  /** By size of page: 2MB. */
  hugetlb?: Record<string, Usage & { rsvd?: Usage }>;
  /** By device: hca_handle, hca_object. */
  rdma?: { current: Record<string, Counters>; max?: Record<string, Counters> };
}

const files =
  /^(cpu\.(stat|pressure)|io\.(stat|pressure)|memory\.(low|stat|pressure)|(memory|memory\.swap|pids|hugetlb\.\w+(\.rsvd)?|rdma)\.(current|max|peak|events))$/;

/** @throws NodeJS.ErrnoException ENOENT if there is no such cgroup */
export function readStatistics(folder: string): CgroupStatistics {
  const statistics: Record<string, unknown> = {};
  for (const file of readdirSync(folder)) {
    const text = files.test(file) ? readCgroupFile(folder, file) : undefined; // EOPNOTSUPP without PSI
    if (text === undefined) continue;
    const keys = file.split('.');
    let at = statistics;
    for (const key of keys.slice(0, -1)) {
      at[key] ??= {};
      at = at[key] as Record<string, unknown>;
    }
    at[keys.at(-1)!] = parseCgroupFile(file, text);
  }
  // io.pressure and memory.pressure are there without their controllers.
  for (const controller of ['memory', 'io'])
    if (!(statistics[controller] as { stat?: unknown } | undefined)?.stat) delete statistics[controller];
  return statistics as CgroupStatistics;
}

const toNumber = (text: string): number => (text === 'max' ? Number.POSITIVE_INFINITY : Number(text));

/** A number; lines of "key value"; or, in io.*, rdma.* and *.pressure, lines of "key name=value …". */
export function parseCgroupFile(file: string, text: string): number | Counters | Record<string, Counters> {
  const lines = text.split('\n').filter((line) => line !== '');
  if (/^(io|rdma)\.|\.pressure$/.test(file))
    return Object.fromEntries(
      lines.map((line) => {
        const [key, ...pairs] = line.trim().split(' ');
        return [key, Object.fromEntries(pairs.map((pair) => pair.split('=')).map(([k, v]) => [k, toNumber(v!)]))];
      }),
    );
  if (!/\.(stat|events)$/.test(file)) return toNumber(lines[0] ?? '');
  return Object.fromEntries(lines.map((line) => line.split(' ')).map(([key, value]) => [key, toNumber(value!)]));
}
