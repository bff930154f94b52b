/** Faults of user and time namespaces: id maps that the kernel would refuse without a reason, and ids that they leave out. Pure. */
import { hostId, newUserMaps } from '../core/plan/user-namespace.ts';
import type { IdMapping, Mount } from '../core/spec/types.ts';
import type { Spec } from '../spec/types.ts';

/** Source: user_namespaces(7), "Defining user and group ID mappings". */
const MOST_LINES = 340;
const LAST_ID = 2 ** 32 - 2;
const kinds = ['uid', 'gid'] as const;

export interface Fault {
  pointer: string;
  problem: string;
}

export function idFaults(spec: Spec): Fault[] {
  const linux = spec.linux ?? {};
  const own = newUserMaps(linux);
  const inUser = linux.namespaces?.some(({ type }) => type === 'user') ?? false;
  const faults: Fault[] = [];
  for (const kind of kinds) {
    const pointer = `/linux/${kind}Mappings`;
    const map = linux[`${kind}Mappings`] ?? [];
    faults.push(...mapFaults(map, pointer));
    if (map.length > 0 && !inUser) faults.push({ pointer, problem: 'needs a user namespace: there is none' });
    if (!own) continue;
    if (map.length === 0) faults.push({ pointer, problem: 'is missing: a new user namespace needs it' });
    else if (hostId(map, 0) === undefined)
      faults.push({ pointer, problem: 'leaves out 0: the container is built by its own root' });
    else faults.push(...unmapped(spec, kind, map));
  }
  for (const [i, mount] of (spec.mounts ?? []).entries())
    faults.push(...mountFaults(mount, `/mounts/${i}`, own !== undefined));
  return [...faults, ...timeFaults(spec)];
}

function mountFaults(
  { type, options = [], uidMappings, gidMappings }: Mount,
  pointer: string,
  ownMaps: boolean,
): Fault[] {
  const option = options.find((name) => name === 'idmap' || name === 'ridmap');
  const fault = (problem: string) => [{ pointer, problem }];
  if (!option && !uidMappings && !gidMappings) return [];
  if (type !== 'bind' && !options.includes('bind') && !options.includes('rbind'))
    return fault(`can't be idmapped: that is for bind mounts, and this is of type ${type}`);
  if (!uidMappings !== !gidMappings)
    return fault(`has ${uidMappings ? 'uidMappings without gidMappings' : 'gidMappings without uidMappings'}`);
  if (!uidMappings && !ownMaps)
    return fault(`has ${option}, but neither uidMappings and gidMappings nor has the container a new user namespace`);
  const maps = { uid: uidMappings ?? [], gid: gidMappings ?? [] };
  return kinds.flatMap((kind) => mapFaults(maps[kind], `${pointer}/${kind}Mappings`));
}

function mapFaults(map: readonly IdMapping[], pointer: string): Fault[] {
  const faults: Fault[] = [];
  if (map.length > MOST_LINES)
    faults.push({ pointer, problem: `has ${map.length} lines; the kernel takes ${MOST_LINES}` });
  for (const [i, line] of map.entries())
    for (const side of ['containerID', 'hostID'] as const) {
      if (line[side] + line.size - 1 > LAST_ID)
        faults.push({ pointer: `${pointer}/${i}`, problem: `goes beyond ${LAST_ID}, the last id there is (${side})` });
      const other = map.slice(0, i).findIndex((one) => overlap(one[side], one.size, line[side], line.size));
      if (other >= 0) faults.push({ pointer: `${pointer}/${i}`, problem: `overlaps with line ${other} (${side})` });
    }
  return faults;
}

const overlap = (a: number, sizeA: number, b: number, sizeB: number): boolean => a < b + sizeB && b < a + sizeA;

/** Every id that the configuration speaks of has to be somebody outside. */
function unmapped({ process, linux }: Spec, kind: 'uid' | 'gid', map: readonly IdMapping[]): Fault[] {
  const ids: [string, number | undefined][] = [
    [`/process/user/${kind}`, process?.user[kind]],
    ...(linux?.devices ?? []).map((device, i): [string, number | undefined] => [
      `/linux/devices/${i}/${kind}`,
      device[kind],
    ]),
  ];
  if (kind === 'gid')
    for (const [i, gid] of (process?.user.additionalGids ?? []).entries())
      ids.push([`/process/user/additionalGids/${i}`, gid]);
  return ids
    .filter(([, id]) => id !== undefined && hostId(map, id) === undefined)
    .map(([pointer, id]) => ({ pointer, problem: `is ${id}, which /linux/${kind}Mappings leaves out` }));
}

function timeFaults({ linux }: Spec): Fault[] {
  const offsets = Object.keys(linux?.timeOffsets ?? {});
  const isNew = linux?.namespaces?.some(({ type, path }) => type === 'time' && !path);
  if (offsets.length === 0 || isNew) return [];
  return [{ pointer: '/linux/timeOffsets', problem: 'needs a new time namespace: there is none' }];
}
