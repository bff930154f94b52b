/**
 * --isolation: the same command behind fewer walls, to see what each wall is good for. A rung is nothing but other options of
 * `run`, and chroot(2) in place of pivot_root; the sequence is the same. Pure.
 */
import type { RunOptions } from './options.ts';
import type { Problems } from './usage-error.ts';

export const rungs = ['chroot', 'namespaces', 'container'] as const;
export type Rung = (typeof rungs)[number];
type Options = Partial<RunOptions>;

/** No capability dropped, no filter, nothing of /proc and /sys hidden, every device allowed. */
const noWallsInside: Options = {
  capAdd: ['ALL'],
  securityOpt: ['seccomp=unconfined', 'systempaths=unconfined'],
  deviceCgroupRule: ['a *:* rwm'],
};
const ofTheHost: Options = { network: 'host', pid: 'host', ipc: 'host', uts: 'host', cgroupns: 'host' };

/** What the options of `run` would be; the mount namespace is what is left, so that nothing has to be unmounted. */
const changes: Record<Rung, Options> = {
  chroot: { ...noWallsInside, ...ofTheHost },
  namespaces: noWallsInside,
  container: {},
};

const limits = [
  ...([
    'memory',
    'memorySwap',
    'memoryReservation',
    'cpus',
    'cpuShares',
    'cpuQuota',
    'cpuPeriod',
    'cpusetCpus',
  ] as const),
  ...(['cpusetMems', 'pidsLimit', 'blkioWeight', 'blkioWeightDevice', 'deviceReadBps', 'deviceWriteBps'] as const),
  ...(['deviceReadIops', 'deviceWriteIops'] as const),
];
const inside = ['capAdd', 'capDrop', 'privileged', 'securityOpt', 'device', 'deviceCgroupRule', 'userns'] as const;
const ofNamespaces = ['network', 'pid', 'ipc', 'uts', 'cgroupns', 'init', 'shmSize'] as const;

/** Options that would put a wall up, or take one away, that the rung is about; and why they can't be had on it. */
const refused: Record<Rung, readonly (readonly [names: readonly (keyof RunOptions)[], why: string])[]> = {
  chroot: [
    [limits, 'limits are a wall of the container'],
    [inside, 'it is root with everything; only a container has this'],
    [ofNamespaces, 'the namespaces are the host’s, but for that of mounts'],
    [['hostname', 'sysctl'], 'the host’s own would be changed'],
  ],
  namespaces: [
    [limits, 'limits are a wall of the container'],
    [inside, 'it is root with everything; only a container has this'],
  ],
  container: [],
};

const optionName = (key: string): string => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
const isGiven = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : value !== undefined);

/** The options as the rung has them. */
export function onRung(options: RunOptions, problems: Problems): RunOptions {
  const { isolation } = options;
  if (isolation === undefined) return options;
  const rung = rungs.find((name) => name === isolation);
  if (rung === undefined) {
    problems.add(
      `--isolation '${isolation}' is unknown: ${rungs.slice(0, -1).join(', ')} or ${rungs.at(-1)} is allowed`,
    );
    return options;
  }
  const nothing: Record<string, unknown> = {};
  for (const [names, why] of refused[rung])
    for (const name of names.filter((name) => isGiven(options[name]))) {
      problems.add(`${optionName(name)} means nothing with --isolation=${rung}: ${why}`);
      nothing[name] = Array.isArray(options[name]) ? [] : undefined; // one complaint is enough
    }
  return { ...options, ...nothing, ...changes[rung] };
}
