/** The files of a cgroup that say what it may use, uses and waits for: each with its meaning in one line. Pure. Source: the kernel's cgroup-v2.rst, psi.rst. */
import { sizeInWords } from './hits.ts';

/** A file's content as data: 'max' is no limit; "key value" lines, or "key name=value …" lines. */
export type FileValue = string | number | Record<string, number | string | Record<string, number | string>>;

export interface FileRow {
  file: string;
  /** At most 32 characters, so that a line in the tree fits 80 columns. */
  meaning: string;
  /** Numbers for people, at most 19 characters; undefined leaves the line out. `all` are the files of the same cgroup. */
  words(value: FileValue, all: Record<string, FileValue>): string | undefined;
  /** True for what a new cgroup has anyway: an overview leaves it out. */
  dull(value: FileValue): boolean;
}

const toNumber = (text: string): number | string => (/^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text);

/** One word, several lines of "key value", or lines of "key name=value …"; anything else stays as it is. */
export function parseFile(text: string): FileValue {
  const lines = text.trim().split('\n');
  if (lines.every((line) => /^\S+( \S+=\S+)+$/.test(line)))
    return Object.fromEntries(
      lines.map((line) => {
        const [key, ...pairs] = line.split(' ');
        const split = pairs.map((pair) => pair.split('=') as [string, string]);
        return [key!, Object.fromEntries(split.map(([name, value]) => [name, toNumber(value)]))];
      }),
    );
  if (lines.every((line) => /^[a-z]\S* \S+$/.test(line)))
    return Object.fromEntries(
      lines.map((line) => line.split(' ') as [string, string]).map(([k, v]) => [k, toNumber(v)]),
    );
  return toNumber(lines.join(' '));
}

const field = (value: FileValue, key: string): number =>
  typeof value === 'object' && typeof value[key] === 'number' ? value[key] : 0;

/** hugetlb has the largest number there is where others say max. */
const isMax = (value: FileValue) => value === 'max' || (typeof value === 'number' && value > 2 ** 62);
const size = (value: FileValue): string =>
  typeof value === 'number' && !isMax(value) ? sizeInWords(value) : 'no limit';
const plain = (value: FileValue): string => (value === 'max' ? 'no limit' : String(value));

/** `12 MiB [##      ]`, where there is a limit. */
function against(limitFile: string, words: (value: FileValue) => string): FileRow['words'] {
  return (value, all) => {
    const limit = all[limitFile];
    if (typeof limit !== 'number' || typeof value !== 'number') return words(value);
    const filled = limit === 0 ? 8 : Math.min(8, Math.round((value / limit) * 8));
    return `${words(value)} [${'#'.repeat(filled)}${' '.repeat(8 - filled)}]`;
  };
}

function cpuLimit(value: FileValue): string {
  const [quota, period] = String(value).split(' ').map(Number) as [number, number];
  return Number.isNaN(quota) ? 'no limit' : `${Number((quota / period).toFixed(2))} CPUs`;
}

/** some and full of the last ten seconds, in percent. */
function pressure(value: FileValue): string {
  const of = (key: string) => {
    const line = typeof value === 'object' ? value[key] : undefined;
    const percent = typeof line === 'object' ? Number(line.avg10) : undefined;
    return percent === undefined ? undefined : Number(percent.toFixed(percent < 10 ? 1 : 0));
  };
  const full = of('full');
  return `some ${of('some') ?? 0}${full === undefined ? '' : ` full ${full}`} %`;
}

/** Lines such as "8:0 rbps=1048576 wbps=max": the limits of each disk, bytes in words. */
function disks(value: FileValue): string {
  if (typeof value !== 'object') return plain(value);
  return Object.entries(value)
    .map(([disk, limits]) => {
      const set = typeof limits === 'object' ? Object.entries(limits).filter(([, rate]) => rate !== 'max') : [];
      return `${disk} ${set.map(([name, rate]) => `${name} ${name.endsWith('bps') ? sizeInWords(Number(rate)) : rate}`).join(' ')}`;
    })
    .join(', ');
}

function diskUse(value: FileValue): string {
  const sum = (name: string) =>
    Object.values(typeof value === 'object' ? value : {}).reduce<number>(
      (total, disk) => total + (typeof disk === 'object' ? Number(disk[name] ?? 0) : 0),
      0,
    );
  return `r ${sizeInWords(sum('rbytes'))} w ${sizeInWords(sum('wbytes'))}`;
}

const isZero = (value: FileValue) => value === 0;
const isEmpty = (value: FileValue) => value === '';
const never = () => false;
const calm = (value: FileValue) => /^some 0( full 0)? %$/.test(pressure(value));
const events = (...keys: string[]) => ({
  words: (value: FileValue) => keys.map((key) => `${key} ${field(value, key)}`).join(' '),
  dull: (value: FileValue) => keys.every((key) => field(value, key) === 0),
});

/** In the order in which they are drawn. */
export const fileRows: readonly FileRow[] = [
  { file: 'cgroup.freeze', meaning: '1: all its processes stand still', words: plain, dull: isZero },
  { file: 'memory.max', meaning: 'above it the kernel kills', words: size, dull: isMax },
  { file: 'memory.high', meaning: 'above it the kernel slows down', words: size, dull: isMax },
  { file: 'memory.low', meaning: 'so much is left to it if it can', words: size, dull: isZero },
  { file: 'memory.current', meaning: 'in use now, with file caches', words: against('memory.max', size), dull: never },
  { file: 'memory.peak', meaning: 'the most it ever used', words: size, dull: isZero },
  { file: 'memory.swap.max', meaning: 'swap beside the memory', words: size, dull: isMax },
  { file: 'memory.swap.current', meaning: 'swap in use now', words: against('memory.swap.max', size), dull: isZero },
  { file: 'memory.events', meaning: 'times at the limit; killed', ...events('max', 'oom_kill') },
  { file: 'memory.pressure', meaning: '% of 10 s waited for memory', words: pressure, dull: calm },
  { file: 'cpu.max', meaning: 'time in each period: quota', words: cpuLimit, dull: (v) => cpuLimit(v) === 'no limit' },
  { file: 'cpu.weight', meaning: 'share against its neighbours', words: plain, dull: (value) => value === 100 },
  {
    file: 'cpu.stat',
    meaning: 'CPU time used in all',
    words: (value) => `${(field(value, 'usage_usec') / 1e6).toFixed(2)} s`,
    dull: never,
  },
  {
    file: 'cpu.stat',
    meaning: 'periods in which it was held back',
    words: (value) =>
      typeof value === 'object' && 'nr_periods' in value
        ? `${field(value, 'nr_throttled')} of ${field(value, 'nr_periods')}`
        : undefined,
    dull: (value) => field(value, 'nr_throttled') === 0,
  },
  { file: 'cpu.pressure', meaning: '% of 10 s waited for a CPU', words: pressure, dull: calm },
  {
    file: 'cpuset.cpus',
    meaning: 'the CPUs it may run on',
    words: (v) => (isEmpty(v) ? 'all' : String(v)),
    dull: isEmpty,
  },
  {
    file: 'cpuset.mems',
    meaning: 'the memory nodes it may use',
    words: (v) => (isEmpty(v) ? 'all' : String(v)),
    dull: isEmpty,
  },
  { file: 'pids.max', meaning: 'so many processes, threads too', words: plain, dull: isMax },
  { file: 'pids.current', meaning: 'processes and threads now', words: against('pids.max', plain), dull: never },
  { file: 'pids.peak', meaning: 'the most there ever were', words: plain, dull: isZero },
  { file: 'pids.events', meaning: 'times a new one was refused', ...events('max') },
  { file: 'io.max', meaning: 'bytes, operations a second', words: disks, dull: isEmpty },
  {
    file: 'io.weight',
    meaning: 'share of the disks',
    words: (v) => String(field(v, 'default') || v),
    dull: (v) => field(v, 'default') === 100,
  },
  { file: 'io.stat', meaning: 'read and written', words: diskUse, dull: isEmpty },
  { file: 'io.pressure', meaning: '% of 10 s waited for disks', words: pressure, dull: calm },
];

/** hugetlb.2MB.max and its kin have the size of their pages in the name. */
export function hugetlbRow(file: string): FileRow | undefined {
  const [, , kind] = /^hugetlb\.(\w+)\.(max|current)$/.exec(file) ?? [];
  if (kind === undefined) return undefined;
  const meaning = kind === 'max' ? 'so much in huge pages' : 'in use in huge pages';
  return { file, meaning, words: size, dull: kind === 'max' ? isMax : isZero };
}
