/** --ulimit: limits of each process, getrlimit(2). Those of a whole cgroup are in limits.ts. Pure. */
import type { Rlimit } from '../core/spec/types.ts';
import { cut } from './identity.ts';
import { didYouMean } from './nearest.ts';
import type { RunOptions } from './options.ts';
import { parseWhole } from './sizes.ts';
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
