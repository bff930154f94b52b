/** Volumes are made here, for a container or by `volume create`, opened, and tidied up after. Host side; changes with the store's lock. */
import { chownSync, mkdirSync, openSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { randomHex } from '../core/host/random.ts';
import { O_DIRECTORY, O_RDONLY } from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import { readdirIfThere } from '../image/layout.ts';
import { withStoreLock } from '../image/lock.ts';
import { openat } from '../image/unpack/at.ts';
import type { ContainerRecord } from './containers.ts';
import type { VolumeMount } from './volume-mount.ts';
import {
  ANONYMOUS_LABEL,
  readVolume,
  removeFolders,
  removeVolumes,
  type VolumeRecord,
  volumeFolder,
  volumesFolder,
} from './volume-store.ts';

export function noSuchVolume(name: string): ContainerError {
  return new ContainerError(`no such volume: ${name}`, { exitCode: 1 });
}

/** Returns its name. One that is there stays as it is, as with docker, unless it was to have other labels. @throws ContainerError */
export function createVolume(root: string, name: string | undefined, labels: Record<string, string>): string {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  if (name === undefined) {
    const own = randomHex(32);
    withStoreLock(root, () => make(root, own, { ...labels, [ANONYMOUS_LABEL]: '' }));
    return own;
  }
  const given = Object.keys(labels).length > 0;
  withStoreLock(root, () => {
    const there = readVolume(root, name);
    if (there === undefined) make(root, name, given ? labels : null);
    else if (given && JSON.stringify(sorted(labels)) !== JSON.stringify(sorted(there.labels ?? {})))
      throw new ContainerError(`the volume ${name} is there already, with other labels`, { exitCode: 1 });
  });
  return name;
}

const sorted = (labels: Record<string, string>) => Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));

/** Call it with the store's lock. Under another name until it is whole. */
function make(root: string, name: string, labels: VolumeRecord['labels'], owner?: IdMaps, madeFor?: string): void {
  const folder = volumesFolder(root);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const young = `${folder}/.new-${process.pid}-${randomHex(4)}`;
  mkdirSync(young, { mode: 0o700 });
  const data = `${young}/_data`;
  mkdirSync(data, { mode: 0o755 });
  if (owner) chownSync(data, hostId(owner.uid, 0)!, hostId(owner.gid, 0)!);
  const record: VolumeRecord = { created: new Date().toISOString(), labels, ...(madeFor && { madeFor }) };
  writeFileSync(`${young}/volume.json`, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  renameSync(young, volumeFolder(root, name));
}

/**
 * Those that a container is to have and that are not there. Call it with the store's lock, when the container's folder is there
 * and before its record is: half-made, it takes its anonymous ones with it.
 */
export function makeVolumes(
  root: string,
  { id, idMaps }: Pick<ContainerRecord, 'id' | 'idMaps'>,
  mounts: readonly VolumeMount[],
): void {
  for (const { volume, anonymous, labels, idmap } of mounts) {
    if (readVolume(root, volume)) continue;
    const owner = idmap ? undefined : idMaps; // an idmapped mount shows the host's root as the container's
    if (anonymous) make(root, volume, { ...labels, [ANONYMOUS_LABEL]: '' }, owner, id);
    else make(root, volume, labels ?? null, owner);
  }
}

/** @throws ContainerError if a container has it, or it is not there */
export function removeVolume(root: string, name: string): void {
  const removed = removeVolumes(root, [name], ({ users }) => {
    const [first, ...others] = users;
    if (first === undefined) return true;
    const who = `${first.slice(0, 12)}${others.length > 0 ? ` and ${others.length} more` : ''}`;
    throw new ContainerError(`the volume ${name} is in use by container ${who}`, {
      exitCode: 1,
      hint: 'running or not, a container keeps its volumes until it is removed: tinyctr ps -a lists them',
    });
  });
  if (removed.length === 0) throw noSuchVolume(name);
}

/** Half-made and half-removed ones of processes that are gone, as paths. */
export function deadVolumes(root: string): string[] {
  const names = readdirIfThere(volumesFolder(root)).filter((name) => {
    const pid = /^\.(?:new|old)-([0-9]+)-/.exec(name)?.[1];
    return pid !== undefined && !statSync(`/proc/${pid}`, { throwIfNoEntry: false });
  });
  return names.map((name) => `${volumesFolder(root)}/${name}`);
}

export function removeDeadVolumes(root: string): void {
  removeFolders(
    volumesFolder(root),
    deadVolumes(root).map((path) => path.slice(path.lastIndexOf('/') + 1)),
  );
}

/** The folder with the volume's files, never through a link. Owned by the caller. @throws ContainerError if it is gone, or something else */
export function openData(folder: number, name: string): number {
  const fd = openat(folder, '_data', O_RDONLY | O_DIRECTORY, 0, 'ENOENT', 'ENOTDIR', 'ELOOP');
  if (fd >= 0) return fd;
  throw new ContainerError(`the volume ${name} is damaged: its _data is gone, or no folder`, {
    hint: `what there was of it is in none of tinyctr's places; without its files: tinyctr volume rm ${name}`,
  });
}

/** The volume's own folder. Owned by the caller. @throws ContainerError if the volume is gone */
export function openVolume(root: string, name: string): number {
  try {
    return openSync(volumeFolder(root, name), O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    throw new ContainerError(`the volume ${name} is gone: somebody has removed ${volumeFolder(root, name)}`, {
      hint: `an empty one in its place: tinyctr volume create ${name}`,
    });
  }
}
