/**
 * The limits of a cgroup, from docker's options to the resources of the specification: memory, processors, processes.
 * Disks are in block-io.ts. `tinyctr run` and `tinyctr limit` share them. Pure. Source: docker run's reference.
 */
import type { Resources } from '../core/spec/types.ts';
import { blockIO } from './block-io.ts';
import type { HostReaders, LimitOptions } from './options.ts';
import { parseSize, parseWhole } from './sizes.ts';
import { type Problems, UsageError } from './usage-error.ts';

type Memory = NonNullable<Resources['memory']>;
type Cpu = NonNullable<Resources['cpu']>;

const minMemoryBytes = 6 * 1024 ** 2;

/** Bytes; undefined for 0, docker's word for no limit. @throws UsageError below 6 MiB */
function parseMemory(option: string, text: string | undefined): number | undefined {
  const bytes = text === undefined ? 0 : parseSize(option, text);
  if (bytes === 0) return undefined;
  if (bytes < minMemoryBytes) {
    throw new UsageError(`${option} '${text}' is ${bytes} bytes: at least 6m is needed to start anything`);
  }
  return bytes;
}

/** --memory-swap counts memory and swap together; where it is not given, swap may hold as much again as memory. */
function parseSwap(text: string | undefined, limit: number | undefined): number | undefined {
  if (text === '-1') return -1;
  const swap = text === undefined ? 0 : parseSize('--memory-swap', text);
  if (swap === 0) return limit && Math.min(limit * 2, Number.MAX_SAFE_INTEGER);
  if (limit === undefined) {
    throw new UsageError(`--memory-swap '${text}' is for memory and swap together, so it needs --memory`);
  }
  if (swap < limit) {
    throw new UsageError(`--memory-swap '${text}' is for memory and swap together: it can't be less than --memory`);
  }
  return swap;
}

function memory(options: LimitOptions): Memory {
  const limit = parseMemory('--memory', options.memory);
  const swap = parseSwap(options.memorySwap, limit);
  const reservation = parseMemory('--memory-reservation', options.memoryReservation);
  if (limit && reservation && reservation > limit) {
    throw new UsageError(
      `--memory-reservation '${options.memoryReservation}' is more than --memory '${options.memory}'`,
    );
  }
  return { ...(limit && { limit }), ...(swap && { swap }), ...(reservation && { reservation }) };
}

const cpuPeriodUs = 100_000;

/** Reads --cpus, a decimal number of processors, as microseconds of each 100 ms. @throws UsageError */
function parseCpus(text: string, hostCpus: number): Cpu {
  if (!/^(?:\d+(?:\.\d{0,9})?|\.\d{1,9})$/.test(text)) {
    throw new UsageError(`--cpus '${text}' is not a decimal number with at most nine digits after the point`);
  }
  const cpus = Number(text);
  if (cpus === 0) return {};
  if (cpus < 0.01 || cpus > hostCpus) {
    throw new UsageError(`--cpus '${text}' is outside of 0.01 to ${hostCpus}: the host has ${hostCpus} processors`);
  }
  return { quota: Math.floor(cpus * cpuPeriodUs + 1e-6), period: cpuPeriodUs };
}

/** Microseconds; the kernel takes no period outside of these and no quota below the least. 0 is docker's word for the default. */
function parsePeriod(text: string): Cpu {
  return text === '0' ? {} : { period: parseWhole('--cpu-period', text, 1000, 1_000_000) };
}

function parseQuota(text: string): Cpu {
  if (text === '0') return {};
  return { quota: text === '-1' ? -1 : parseWhole('--cpu-quota', text, 1000, Number.MAX_SAFE_INTEGER) };
}

/** Reads --cpu-shares; 0 is docker's word for the default. @throws UsageError outside of cgroup v1's range */
function parseShares(text: string): Cpu {
  return text === '0' ? {} : { shares: parseWhole('--cpu-shares', text, 2, 262_144) };
}

/** The numbers of a list such as `0-2,7`; undefined if it is none. */
function listed(text: string): Set<number> | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(',')) {
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (first === undefined || Number(first) > Number(last)) return undefined;
    for (let number = Number(first); number <= Number(last); number++) numbers.add(number);
  }
  return numbers;
}

/** The kernel would take a list of absent ones and use all that there are: so they are looked for. @throws UsageError */
function parseSet(option: string, text: string, host: HostReaders, kind: 'cpu' | 'node'): string | undefined {
  if (text === '') return undefined;
  const wanted = listed(text);
  if (!wanted) throw new UsageError(`${option} '${text}' is not a list of numbers and ranges, such as 0-2,7`);
  const file = `/sys/devices/system/${kind}/online`;
  const online = host.exists(file) ? new TextDecoder().decode(host.readFile(file)).trim() : '0';
  const present = listed(online)!;
  const absent = [...wanted].filter((number) => !present.has(number));
  if (absent.length === 0) return text;
  const what = kind === 'cpu' ? 'processors' : 'memory nodes';
  throw new UsageError(
    `${option} '${text}': the host's ${what} are ${online}, ${absent.slice(0, 5).join(', ')} is not there`,
  );
}

function cpu(options: LimitOptions, host: HostReaders, problems: Problems): Cpu {
  const read = <T>(text: string | undefined, parse: (text: string) => T) =>
    text === undefined ? undefined : problems.attempt(() => parse(text), undefined);
  const { cpus, cpuQuota, cpuPeriod } = options;
  if (cpus !== undefined && (cpuQuota ?? cpuPeriod) !== undefined)
    problems.add(
      `--cpus and ${cpuQuota === undefined ? '--cpu-period' : '--cpu-quota'} exclude each other: --cpus 1.5 is a quota of 150000 in a period of 100000`,
    );
  const set = read(options.cpusetCpus, (text) => parseSet('--cpuset-cpus', text, host, 'cpu'));
  const nodes = read(options.cpusetMems, (text) => parseSet('--cpuset-mems', text, host, 'node'));
  return {
    ...read(options.cpuShares, parseShares),
    ...read(cpuPeriod, parsePeriod),
    ...read(cpuQuota, parseQuota),
    ...read(cpus, (text) => parseCpus(text, host.cpus)),
    ...(set && { cpus: set }),
    ...(nodes && { mems: nodes }),
  };
}

/** Reads --pids-limit; -1 and 0 are unlimited. @throws UsageError */
function parsePidsLimit(text: string): number | undefined {
  if (text === '-1' || text === '0') return undefined;
  // The kernel's own ceiling for process ids, PID_MAX_LIMIT.
  return parseWhole('--pids-limit', text, 1, 4_194_304);
}

/** The limits asked for, or undefined when there is none: then no controller is needed. Device rules are in devices.ts. */
export function resources(options: LimitOptions, host: HostReaders, problems: Problems): Resources | undefined {
  const all: Resources = {
    memory: problems.attempt(() => memory(options), {}),
    cpu: cpu(options, host, problems),
    blockIO: blockIO(options, host, problems),
  };
  for (const key of ['memory', 'cpu', 'blockIO'] as const) if (Object.keys(all[key]!).length === 0) delete all[key];
  const { pidsLimit } = options;
  const limit = pidsLimit === undefined ? undefined : problems.attempt(() => parsePidsLimit(pidsLimit), undefined);
  if (limit !== undefined) all.pids = { limit };
  return Object.keys(all).length > 0 ? all : undefined;
}

/**
 * The cgroup's path below the hierarchy's root. --cgroup-parent counts from there, with a leading slash or without. A parent that is
 * not there is made, and stays: it is the caller's.
 */
export function cgroupPath(parent: string | undefined, name: string): string {
  if (parent === undefined) return `/tinyctr/${name}`;
  const parts = parent.split('/').filter(Boolean);
  if (
    parts.length === 0 ||
    parts.some((part) => part === '.' || part === '..' || part.length > 255 || part.includes('\0'))
  )
    throw new UsageError(
      `--cgroup-parent '${parent}' is not a path below the root of the cgroup hierarchy, such as /lesson/one`,
    );
  return `/${parts.join('/')}/${name}`;
}
