/**
 * The store of volumes, folders that outlive containers: <root>/volumes/<name>/ has their files in _data, and what is known of them in
 * volume.json. Who uses one stands in the records of containers and nowhere else. Host side; changes with the store's lock.
 */
import { closeSync, openSync, renameSync, statSync } from 'node:fs';
import { randomHex } from '../core/host/random.ts';
import { O_DIRECTORY, O_RDONLY } from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { readdirIfThere, readIfThere } from '../image/layout.ts';
import { withStoreLock } from '../image/lock.ts';
import { removeTree } from '../image/unpack/remove-tree.ts';
import { type ContainerRecord, isDamaged, listContainers } from './containers.ts';
import { readStored } from './stored-file.ts';
import { isVolumeName } from './volume-mount.ts';

/** volume.json. */
export interface VolumeRecord {
  /** ISO 8601. */
  created: string;
  labels: Record<string, string> | null;
  /** The id of the container that an anonymous one was made for. */
  madeFor?: string;
}

export interface Volume extends VolumeRecord {
  name: string;
  /** Where its files are. */
  mountpoint: string;
}

/** docker's mark of a volume that nobody gave a name. */
export const ANONYMOUS_LABEL = 'com.docker.volume.anonymous';

export const isAnonymous = ({ labels }: Volume): boolean => labels !== null && ANONYMOUS_LABEL in labels;

export const volumesFolder = (root: string): string => `${root}/volumes`;
export const volumeFolder = (root: string, name: string): string => `${root}/volumes/${name}`;

/** All, in alphabetical order. */
export function listVolumes(root: string): Volume[] {
  return readdirIfThere(volumesFolder(root))
    .sort()
    .flatMap((name) => readVolume(root, name) ?? []);
}

/** A record that can't be read says nothing of labels; the volume is there all the same. */
export function readVolume(root: string, name: string): Volume | undefined {
  if (!isVolumeName(name)) return undefined;
  const folder = volumeFolder(root, name);
  const found = statSync(folder, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return undefined;
  return { ...readRecord(folder, found.ctime), name, mountpoint: `${folder}/_data` };
}

function readRecord(folder: string, since: Date): VolumeRecord {
  try {
    const record = JSON.parse(readIfThere(`${folder}/volume.json`) ?? '') as VolumeRecord;
    if (typeof record.created === 'string') return record;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { created: since.toISOString(), labels: null };
}

/** The ids of the containers that have each volume, running or not: all that were made and not removed. Of one without a readable record nothing is known. */
export function volumeUsers(root: string): Map<string, string[]> {
  return usersOf(root, () => []);
}

/** Before anything is removed. @throws ContainerError where a container might have any of them */
const certainUsers = (root: string): Map<string, string[]> =>
  usersOf(root, (id, cause) => {
    const short = id.slice(0, 12);
    throw new ContainerError(`which volumes container ${short} has can't be told: both its records are damaged`, {
      hint: `tinyctr rm ${short}`,
      cause,
    });
  });

function usersOf(root: string, unknown: (id: string, cause: unknown) => string[]): Map<string, string[]> {
  const users = new Map<string, string[]>();
  for (const record of listContainers(root))
    for (const name of volumesOf(root, record, unknown))
      if (!users.get(name)?.includes(record.id)) users.set(name, [...(users.get(name) ?? []), record.id]);
  return users;
}

/** A damaged record does not tell; what the container is made of stands in a second file. */
function volumesOf(root: string, record: ContainerRecord, unknown: (id: string, cause: unknown) => string[]): string[] {
  if (!isDamaged(record)) return (record.volumes ?? []).map(({ name }) => name);
  try {
    return (readStored(root, record.id).wanted.volumes ?? []).map(({ volume }) => volume);
  } catch (cause) {
    return unknown(record.id, cause);
  }
}

/**
 * Removes those of which `wanted` says so; with the lock, so that no container takes one meanwhile, but for the time that it takes
 * to remove their files. Returns their names.
 */
export function removeVolumes(
  root: string,
  names: readonly string[],
  wanted: (volume: Volume & { users: readonly string[] }) => boolean,
): string[] {
  const folder = volumesFolder(root);
  if (names.length === 0 || !statSync(folder, { throwIfNoEntry: false })) return [];
  const moved = new Map<string, string>();
  try {
    withStoreLock(root, () => {
      const users = certainUsers(root);
      for (const name of names) {
        const volume = readVolume(root, name);
        if (volume === undefined || !wanted({ ...volume, users: users.get(name) ?? [] })) continue;
        const away = `.old-${process.pid}-${randomHex(4)}`;
        renameSync(`${folder}/${name}`, `${folder}/${away}`);
        moved.set(name, away);
      }
    });
  } finally {
    removeFolders(folder, [...moved.values()]);
  }
  return [...moved.keys()];
}

export function removeFolders(folder: string, names: readonly string[]): void {
  if (names.length === 0) return;
  const fd = openSync(folder, O_RDONLY | O_DIRECTORY);
  try {
    for (const name of names) removeTree(fd, name);
  } finally {
    closeSync(fd);
  }
}

/** The anonymous volumes that were made for a container, but those that another one has taken. Undefined: it has no record that can be read. */
export function removeAnonymous(root: string, id: string, record: ContainerRecord | undefined): void {
  const own = record
    ? (record.volumes ?? []).filter(({ anonymous }) => anonymous)
    : listVolumes(root).filter(({ madeFor }) => madeFor === id);
  const names = own.map(({ name }) => name);
  try {
    removeVolumes(root, names, ({ users }) => users.every((user) => user === id));
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error; // another container might have one of them: they stay, for `volume prune`
  }
}
