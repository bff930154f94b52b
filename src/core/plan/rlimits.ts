/** Resource limits by name. Pure. Source: getrlimit(2), the numbers of asm-generic/resource.h (x86-64 and arm64). */
import { ContainerError } from '../kernel/error.ts';
import type { Rlimit } from '../spec/types.ts';

/** In the order of their numbers. */
export const resources = [
  'RLIMIT_CPU',
  'RLIMIT_FSIZE',
  'RLIMIT_DATA',
  'RLIMIT_STACK',
  'RLIMIT_CORE',
  'RLIMIT_RSS',
  'RLIMIT_NPROC',
  'RLIMIT_NOFILE',
  'RLIMIT_MEMLOCK',
  'RLIMIT_AS',
  'RLIMIT_LOCKS',
  'RLIMIT_SIGPENDING',
  'RLIMIT_MSGQUEUE',
  'RLIMIT_NICE',
  'RLIMIT_RTPRIO',
  'RLIMIT_RTTIME',
];

/** -1, and the number that JSON makes of 2^64 - 1, are RLIM_INFINITY. */
const infinite = (limit: number): boolean => limit === -1 || limit >= 2 ** 63;

export function planRlimits(
  rlimits: readonly Rlimit[],
): { name: string; resource: number; soft: number; hard: number }[] {
  return rlimits.map(({ type, soft, hard }, index) => {
    const specPointer = `/process/rlimits/${index}`;
    const resource = resources.indexOf(type);
    if (resource < 0)
      throw new ContainerError(`unknown resource limit ${type}; known are ${resources.join(', ')}`, {
        specPointer: `${specPointer}/type`,
      });
    if (rlimits.findIndex((other) => other.type === type) < index)
      throw new ContainerError(`${type} is there twice`, { specPointer: `${specPointer}/type` });
    if (!infinite(hard) && (infinite(soft) || soft > hard))
      throw new ContainerError(
        `${type}: the soft limit ${infinite(soft) ? 'unlimited' : soft} is above the hard limit ${hard}`,
        { specPointer },
      );
    return { name: type, resource, soft: infinite(soft) ? -1 : soft, hard: infinite(hard) ? -1 : hard };
  });
}
