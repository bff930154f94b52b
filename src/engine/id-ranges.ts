/** Which ids of the host a container with --userns gets: a range of its own, for as long as the container is there. Host side. */
import { readFileSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import type { IdMapping } from '../core/spec/types.ts';
import { callerOf } from './caller.ts';
import { listContainers } from './containers.ts';

/** Ids of one container: what an image's passwd file has, nobody (65534) included. */
const SIZE = 65536;
/** Where no line of /etc/subuid says something else: above what systemd gives to containers. Source: systemd.io/UIDS-GIDS. */
const DEFAULT = { start: 0x70000000, count: 0x10000000 };
const owners = ['tinyctr', 'containers'];

/** The maps of --userns=auto and keep-id. */
export function chooseIdMaps(mode: 'auto' | 'keep-id', root: string, env: NodeJS.ProcessEnv): IdMaps {
  const [uids, gids] = [slots('/etc/subuid'), slots('/etc/subgid')];
  const taken = new Set(listContainers(root).flatMap(({ idMaps }) => idMaps?.uid.map(({ hostID }) => hostID) ?? []));
  const free = uids.findIndex((start, i) => i < gids.length && !taken.has(start));
  if (free < 0)
    throw new ContainerError(
      `all ${Math.min(uids.length, gids.length)} ranges of ${SIZE} ids are in use by containers`,
      {
        hint: 'remove containers, or give tinyctr more ids in /etc/subuid and /etc/subgid',
      },
    );
  const [uid, gid] = [uids[free]!, gids[free]!];
  if (mode === 'auto') return { uid: plain(uid), gid: plain(gid) };
  const caller = callerOf(env);
  return { uid: keeping(uid, caller.uid), gid: keeping(gid, caller.gid) };
}

export function areTaken(root: string, maps: IdMaps): boolean {
  const first = maps.uid[0]!.hostID;
  return listContainers(root).some(({ idMaps }) => idMaps?.uid.some(({ hostID }) => hostID === first));
}

const plain = (start: number): IdMapping[] => [{ containerID: 0, hostID: start, size: SIZE }];

/** `own` is the same inside and outside; the others are the range's. */
function keeping(start: number, own: number): IdMapping[] {
  const before = Math.min(own, SIZE);
  const map = [
    { containerID: 0, hostID: start, size: before },
    { containerID: own, hostID: own, size: 1 },
  ];
  if (own >= SIZE - 1) return map;
  return [...map, { containerID: own + 1, hostID: start + own + 1, size: SIZE - own - 1 }];
}

/** The first id of each range that may be used. Source: subuid(5). */
function slots(file: string): number[] {
  const ranges = owners.map((owner) => rangesOf(file, owner)).find((found) => found.length > 0) ?? [DEFAULT];
  const starts = ranges.flatMap(({ start, count }) =>
    Array.from({ length: Math.floor(count / SIZE) }, (_, i) => start + i * SIZE),
  );
  if (starts.length > 0) return starts;
  throw new ContainerError(`${file} gives tinyctr fewer than the ${SIZE} ids that a container needs`);
}

function rangesOf(file: string, owner: string): { start: number; count: number }[] {
  return readIfThere(file)
    .split('\n')
    .map((line) => line.trim().split(':'))
    .filter(([name, start, count]) => name === owner && /^\d+$/.test(start ?? '') && /^\d+$/.test(count ?? ''))
    .map(([, start, count]) => ({ start: Number(start), count: Number(count) }));
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return '';
    throw error;
  }
}
