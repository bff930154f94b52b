/** Limits: --ulimit for the process, --memory, --cpus, --cpu-shares and --pids-limit for its cgroup. Pure. */
import type { Resources, Rlimit } from '../core/spec/types.ts';
import { cut } from './identity.ts';
import { didYouMean } from './nearest.ts';
import type { HostReaders, RunOptions } from './options.ts';
import { parseSize, parseWhole } from './sizes.ts';
import { type Problems, UsageError } from './usage-error.ts';

/** The limits of getrlimit(2) that docker names. RLIMIT_AS is not among them. */
const ulimitNames = [
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
];

/** RLIM_INFINITY. Its true value, 2^64 - 1, is no JavaScript number: 2^64 would be a different limit. */
const unlimited = -1;

function ulimitValue(option: string, text: string): number {
  if (text === '-1' || text === 'unlimited') return unlimited;
  try {
    return parseWhole(option, text, 0, Number.MAX_SAFE_INTEGER);
  } catch {
    throw new UsageError(`${option}: '${text}' is neither a whole number nor -1 for unlimited`);
  }
}

/**
 * Reads `name=soft[:hard]`; `hard` is `soft` when left out, -1 is unlimited (and stays -1 in the result).
 * @throws UsageError for an unknown name, or a soft limit above the hard one, which prlimit(2) would refuse as EINVAL
 */
export function parseUlimit(text: string): Rlimit {
  const [name, values] = cut(text, '=');
  const option = `--ulimit ${text}`;
  if (!ulimitNames.includes(name)) {
    const known = ulimitNames.join(', ');
    throw new UsageError(`${option}: '${name}' is none of ${known}${didYouMean(name, ulimitNames)}`);
  }
  const parts = (values ?? '').split(':');
  if (parts.length > 2) throw new UsageError(`${option} has more than a soft and a hard limit: give name=soft[:hard]`);
  const soft = ulimitValue(option, parts[0]!);
  const hard = parts.length === 1 ? soft : ulimitValue(option, parts[1]!);
  if (hard !== unlimited && (soft === unlimited || soft > hard)) {
    throw new UsageError(`${option}: the soft limit ${parts[0]} of ${name} is above its hard limit ${parts[1]}`);
  }
  return { type: `RLIMIT_${name.toUpperCase()}`, soft, hard };
}

/** The rlimits of all --ulimit options; of two with the same name the later one counts. */
export function rlimits(options: RunOptions, problems: Problems): Rlimit[] {
  const byType = new Map(problems.each(options.ulimit, parseUlimit).map((limit) => [limit.type, limit]));
  return [...byType.values()];
}

const minMemoryBytes = 6 * 1024 ** 2;

/** Reads --memory. Swap may hold as much again, docker's default: `swap` counts both. @throws UsageError below 6 MiB */
function parseMemory(text: string): Resources {
  const limit = parseSize('--memory', text);
  if (limit === 0) return {};
  if (limit < minMemoryBytes) {
    throw new UsageError(`--memory '${text}' is ${limit} bytes: at least 6m is needed to start anything`);
  }
  return { memory: { limit, swap: Math.min(limit * 2, Number.MAX_SAFE_INTEGER) } };
}

const cpuPeriodUs = 100_000;

/** Reads --cpus, a decimal number of processors, as microseconds of each 100 ms. @throws UsageError */
function parseCpus(text: string, hostCpus: number): Resources {
  if (!/^(?:\d+(?:\.\d{0,9})?|\.\d{1,9})$/.test(text)) {
    throw new UsageError(`--cpus '${text}' is not a decimal number with at most nine digits after the point`);
  }
  const cpus = Number(text);
  if (cpus === 0) return {};
  if (cpus < 0.01 || cpus > hostCpus) {
    throw new UsageError(`--cpus '${text}' is outside of 0.01 to ${hostCpus}: the host has ${hostCpus} processors`);
  }
  return { cpu: { quota: Math.floor(cpus * cpuPeriodUs + 1e-6), period: cpuPeriodUs } };
}

/** Reads --cpu-shares; 0 is docker's word for the default. @throws UsageError outside of cgroup v1's range */
function parseCpuShares(text: string): Resources {
  if (text === '0') return {};
  return { cpu: { shares: parseWhole('--cpu-shares', text, 2, 262_144) } };
}

/** Reads --pids-limit; -1 and 0 are unlimited. @throws UsageError */
function parsePidsLimit(text: string): Resources {
  if (text === '-1' || text === '0') return {};
  // The kernel's own ceiling for process ids, PID_MAX_LIMIT.
  return { pids: { limit: parseWhole('--pids-limit', text, 1, 4_194_304) } };
}

/** The cgroup limits asked for, or undefined when there is none: then no controller is needed. */
export function resources(options: RunOptions, host: HostReaders, problems: Problems): Resources | undefined {
  const read = (text: string | undefined, parse: (text: string) => Resources) =>
    text === undefined ? {} : problems.attempt(() => parse(text), {});
  const quota = read(options.cpus, (text) => parseCpus(text, host.cpus));
  const shares = read(options.cpuShares, parseCpuShares);
  const all: Resources = { ...read(options.memory, parseMemory), ...read(options.pidsLimit, parsePidsLimit) };
  if (quota.cpu || shares.cpu) all.cpu = { ...quota.cpu, ...shares.cpu };
  return Object.keys(all).length > 0 ? all : undefined;
}
