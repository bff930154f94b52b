/** Records of containers below <root>/containers: who they are, their writable layer, how they ended. Host side. */
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import { withStoreLock } from '../image/lock.ts';
import { removeTree } from '../image/unpack/remove-tree.ts';
import { DamagedFile, readJson, writeJson } from '../lifecycle/json-file.ts';
import { tryFolderLock, withFolderLock } from './folder-lock.ts';
import { generatedNames } from './generated-names.ts';
import type { HitFacts } from './hits.ts';
import { isName } from './identity.ts';

export interface ContainerRecord {
  id: string;
  name: string | undefined;
  /** The image's id, 64 hex digits, and what it was asked for by. */
  image: string;
  imageName: string;
  command: readonly string[];
  labels: Record<string, string>;
  /** ISO 8601. */
  created: string;
  /** ISO 8601, of the last start. */
  started?: string;
  /** How often its restart policy has brought it back since somebody started it; the start that it waits for is counted. */
  restarts?: number;
  /** Milliseconds between its end and the last start by its policy, or the one to come. */
  pauseMs?: number;
  /** It waits for its policy's next start, which is due then: milliseconds of CLOCK_MONOTONIC, in the boot that is named below. */
  dueMs?: number;
  /** What kept its last start from succeeding. */
  failure?: string;
  /** Somebody stopped it: its restart policy does not bring it back. */
  stopped?: true;
  stopSignal: number | undefined;
  /** Of its user namespace; they are this container's alone until it is removed. */
  idMaps?: IdMaps;
  /** The boot of the machine (random(4), boot_id) that it was made in, and whether it goes with its end: after another boot its state is gone. */
  boot?: string;
  remove?: true;
  /** In the order of its mounts; a volume is in use as long as this record is there. */
  volumes?: readonly { name: string; anonymous?: true }[];
  /** `limitsHit`: what its limits did to it, as it was told at its end. */
  ended?: Ended;
  /** What is wrong with the file; then the rest is nothing but what can be told without it. Never written. */
  damage?: string;
}

export interface Ended {
  /** ISO 8601. */
  at: string;
  exitCode: number;
  limitsHit?: HitFacts;
}

/** What nothing works without. */
const shape = {
  id: 'string',
  name: 'string?',
  image: 'string',
  imageName: 'string',
  command: 'array',
  labels: 'object',
  created: 'string',
  started: 'string?',
  restarts: 'number?',
  pauseMs: 'number?',
  dueMs: 'number?',
  stopSignal: 'number?',
  idMaps: 'object?',
  ended: 'object?',
} as const;

const folderOf = (root: string, id: string): string => `${root}/containers/${id}`;
const nameLink = (root: string, name: string): string => `${root}/containers/.names/${name}`;

/**
 * Makes the container's folder: upper and work for overlayfs, rootfs to mount it on. `before` comes last, but for its record. Returns
 * that, with a name where none was asked for. Throws if the name is taken; what it throws leaves nothing.
 */
export function createContainer(root: string, record: ContainerRecord, before = () => {}): ContainerRecord {
  const { id, idMaps } = record;
  const folder = folderOf(root, id);
  makeNamesFolder(root);
  mkdirSync(folder, { mode: 0o700 });
  return withFolderLock(folder, () => {
    let name: string;
    try {
      name = withNamesLock(root, () => takeNames(root, record.name ? [record.name] : generatedNames(id), id));
    } catch (error) {
      rmdirSync(folder);
      throw error;
    }
    const named = { ...record, name };
    try {
      mkdirSync(`${folder}/upper`, { mode: 0o755 });
      if (idMaps) chownSync(`${folder}/upper`, hostId(idMaps.uid, 0)!, hostId(idMaps.gid, 0)!);
      mkdirSync(`${folder}/work`, { mode: 0o700 });
      mkdirSync(`${folder}/rootfs`, { mode: 0o700 });
      before();
      writeRecord(root, named);
    } catch (error) {
      withNamesLock(root, () => dropName(root, id, named));
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
    return named;
  })!;
}

/** The first of them that is free; with the names' lock. Call it when the container's folder is there: a name without one is taken for a dead container's. */
function takeNames(root: string, names: Iterable<string>, id: string): string {
  let last = '';
  for (const name of names) {
    last = name;
    if (linkName(root, name, id)) return name;
    if (isNamed(root, ownerOf(root, name)!, name)) continue;
    unlinkSync(nameLink(root, name));
    symlinkSync(id, nameLink(root, name));
    return name;
  }
  throw new ContainerError(`the name ${last} is in use by container ${ownerOf(root, last)?.slice(0, 12)}`, {
    hint: `tinyctr rm ${last}, or choose another name`,
  });
}

/** False where there is such a name. */
function linkName(root: string, name: string, id: string): boolean {
  try {
    symlinkSync(id, nameLink(root, name));
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error;
    return false;
  }
}

/** False for a name that somebody left who was killed while he made, renamed or removed a container. */
function isNamed(root: string, id: string, name: string): boolean {
  const record = readRecord(root, id);
  if (record !== undefined) return record.name === name || isDamaged(record);
  const free = tryFolderLock(folderOf(root, id));
  if (typeof free === 'number') closeSync(free);
  return free === 'held'; // it is being made
}

/** Returns its record and the name it had. @throws ContainerError if the name is taken; then nothing has changed */
export function renameContainer(root: string, id: string, name: string): { old: string; record: ContainerRecord } {
  const renamed = withFolderLock(folderOf(root, id), () =>
    withNamesLock(root, () => {
      const before = readRecord(root, id);
      if (before === undefined) return undefined;
      const old = before.name ?? '';
      if (before.damage !== undefined) throw damagedContainer(id, before.damage);
      if (old === name) throw new ContainerError(`that is its name already: ${name}`, { exitCode: 1 });
      takeNames(root, [name], id);
      const record = { ...before, name };
      try {
        writeRecord(root, record);
      } catch (error) {
        unlinkSync(nameLink(root, name));
        throw error;
      }
      if (old && ownerOf(root, old) === id) unlinkSync(nameLink(root, old));
      return { old, record };
    }),
  );
  if (renamed === undefined) throw gone(id);
  return renamed;
}

const gone = (id: string) => new ContainerError(`no such container: ${id.slice(0, 12)}`, { exitCode: 1 });

/** Names are given and taken by one process at a time. Who needs a container's lock as well has that first. */
export function withNamesLock<T>(root: string, act: () => T): T {
  makeNamesFolder(root);
  return withFolderLock(`${root}/containers/.names`, act)!;
}

function makeNamesFolder(root: string): void {
  const folder = `${root}/containers/.names`;
  if (!existsSync(folder)) mkdirSync(folder, { recursive: true, mode: 0o700 });
}

/**
 * The one way to change a record that is there: what others change meanwhile, a name, an end, is not lost. `change` returns the record as it is to be, or the
 * one it was given; a damaged one stays as it is. Returns it; undefined where the container is gone. @throws ContainerError if it can't be written
 */
export function changeRecord(
  root: string,
  id: string,
  change: (record: ContainerRecord) => ContainerRecord,
): ContainerRecord | undefined {
  return withFolderLock(folderOf(root, id), () => {
    const before = readRecord(root, id);
    if (before === undefined || isDamaged(before)) return before;
    const record = change(before);
    if (record !== before) writeRecord(root, record);
    return record;
  });
}

function writeRecord(root: string, record: ContainerRecord): void {
  writeJson(`${folderOf(root, record.id)}/container.json`, record, 2);
}

export function readRecord(root: string, id: string): ContainerRecord | undefined {
  try {
    const record = readJson<ContainerRecord>(`${folderOf(root, id)}/container.json`, shape);
    return record.id === id ? record : damaged(root, id, 'container.json is of another container');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    if (error instanceof DamagedFile) return damaged(root, id, error.message);
    throw error;
  }
}

export const isDamaged = ({ damage }: ContainerRecord): boolean => damage !== undefined;

/** What is shown of a container whose record can't be read: it can be listed and removed, and the others work. */
function damaged(root: string, id: string, damage: string): ContainerRecord {
  const folder = `${root}/containers/.names`;
  const name = existsSync(folder) ? readdirSync(folder).find((one) => ownerOf(root, one) === id) : undefined;
  const nothing = { command: [], labels: {}, stopSignal: undefined };
  return { id, name, image: '', imageName: '(damaged)', created: new Date(0).toISOString(), ...nothing, damage };
}

export function damagedContainer(id: string, damage: string): ContainerError {
  return new ContainerError(`container ${id.slice(0, 12)} is damaged: ${damage}`, {
    exitCode: 1,
    hint: `what it wrote is still there; tinyctr rm -f ${id.slice(0, 12)} removes it`,
  });
}

/**
 * Record, writable layer and name are gone afterwards, also those of a container that was only half made, or half removed. `mayGo` is asked
 * while nobody else can change or start it, and `before` is called with its record where that can be read. Returns the record it had; undefined
 * where it is not there, or may not go.
 */
export function removeContainer(
  root: string,
  id: string,
  mayGo = (_: ContainerRecord) => true,
  before = (_: ContainerRecord | undefined) => {},
): ContainerRecord | undefined {
  const folder = folderOf(root, id);
  const removed = withFolderLock(folder, () => {
    const record = readRecord(root, id);
    if (!existsSync(folder) || (record && !mayGo(record))) return undefined;
    before(record && !isDamaged(record) ? record : undefined);
    withNamesLock(root, () => {
      renameSync(folder, removedFolder(root, id)); // from here on it is no container
      dropName(root, id, record);
    });
    try {
      removeFolder(root, removedName(id)); // still with the lock: whoever gets it knows that nobody goes on
    } catch (error) {
      renameSync(removedFolder(root, id), folder);
      throw error;
    }
    return { record };
  });
  if (removed === undefined) finishRemoval(root, id);
  return removed?.record;
}

const removedName = (id: string): string => `.removed-${id}`;
const removedFolder = (root: string, id: string): string => folderOf(root, removedName(id));

function removeFolder(root: string, name: string): void {
  const containers = openSync(`${root}/containers`, 'r');
  removeTree(containers, name); // what the container wrote may be deeper than any path
  closeSync(containers);
}

/** Whoever began it may have been killed. */
export function finishRemoval(root: string, id: string): void {
  withFolderLock(removedFolder(root, id), () => {
    withNamesLock(root, () => dropName(root, id, undefined));
    removeFolder(root, removedName(id));
  });
}

/** Ids of containers whose removal was begun by a process that is gone. */
export function halfRemoved(root: string): string[] {
  const begun = foldersOf(root).filter((name) => name.startsWith(removedName('')));
  return begun.flatMap((name) => {
    const lock = tryFolderLock(folderOf(root, name));
    if (typeof lock !== 'number') return [];
    closeSync(lock);
    return [name.slice(removedName('').length)];
  });
}

/** Without a record, or with a damaged one, it may have had a name all the same: then all names are looked at. */
function dropName(root: string, id: string, record: ContainerRecord | undefined): void {
  const known = record !== undefined && !isDamaged(record);
  const names = known ? [record.name] : readdirSync(`${root}/containers/.names`);
  for (const name of names) if (name && ownerOf(root, name) === id) unlinkSync(nameLink(root, name));
}

function ownerOf(root: string, name: string): string | undefined {
  try {
    return readlinkSync(nameLink(root, name));
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

const foldersOf = (root: string): string[] =>
  existsSync(`${root}/containers`) ? readdirSync(`${root}/containers`) : [];

/** All that have a folder, with a record or without. */
const containerIds = (root: string): string[] => foldersOf(root).filter((name) => /^[0-9a-f]{64}$/.test(name));

export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

/** It ran when the machine went down. */
export const isLost = ({ ended, boot }: ContainerRecord): boolean => !ended && boot !== undefined && boot !== bootId();

/**
 * Neither running nor ended: of an earlier boot, whose run folder went with the machine's memory. Or half-made: whoever makes one has the
 * store's lock until its record is there, so one without a record is nobody's.
 */
export function lostContainers(root: string, runRoot: string): { id: string; record: ContainerRecord | undefined }[] {
  const ids = containerIds(root).filter((id) => !existsSync(`${runRoot}/${id}`));
  const found = ids.map((id) => ({ id, record: readRecord(root, id) }));
  const isHalfMade = ({ id }: { id: string }) => existsSync(folderOf(root, id)) && !readRecord(root, id);
  const young = found.filter(({ record }) => record === undefined);
  const halfMade = young.length > 0 ? withStoreLock(root, () => young.filter(isHalfMade)) : [];
  return [...found.filter(({ record }) => record && isLost(record)), ...halfMade];
}

/** Names of containers that are not there, as paths. */
export function deadNames(root: string): string[] {
  const folder = `${root}/containers/.names`;
  if (!existsSync(folder)) return [];
  const isDead = (owner: string | undefined) => owner !== undefined && !existsSync(folderOf(root, owner));
  return readdirSync(folder).flatMap((name) => (isDead(ownerOf(root, name)) ? [nameLink(root, name)] : []));
}

export function listContainers(root: string): ContainerRecord[] {
  const ids = containerIds(root);
  const records = ids.map((id) => readRecord(root, id)).filter((record) => record !== undefined);
  return records.sort((a, b) => b.created.localeCompare(a.created));
}

/** By name, id, or the beginning of an id that only one container has. @throws ContainerError */
export function findContainer(root: string, reference: string): ContainerRecord {
  const matches = containersNamed(root, reference);
  if (matches.length === 1) return matches[0]!;
  if (matches.length > 1) throw severalIds(reference, matches.length);
  throw new ContainerError(`no such container: ${reference}`, { exitCode: 1 });
}

export const severalIds = (reference: string, count: number): ContainerError =>
  new ContainerError(`${reference} is the beginning of ${count} container ids`, { exitCode: 1 });

/** A name or a whole id is one container's; else all whose ids begin with it. Reads no other container's record. */
export function containersNamed(root: string, reference: string): ContainerRecord[] {
  const isId = /^[0-9a-f]+$/.test(reference);
  const owner = isName(reference) ? ownerOf(root, reference) : undefined;
  const named = owner === undefined ? undefined : readRecord(root, owner);
  const whole = isId && reference.length === 64 ? readRecord(root, reference) : undefined;
  const one = named && (named.name === reference || isDamaged(named)) ? named : whole;
  if (one) return [one];
  const ids = isId ? containerIds(root).filter((id) => id.startsWith(reference)) : [];
  return ids.map((id) => readRecord(root, id)).filter((record) => record !== undefined);
}
