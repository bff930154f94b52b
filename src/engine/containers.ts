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
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import { removeTree } from '../image/unpack/remove-tree.ts';
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
  /** `limitsHit`: what its limits did to it, as it was told at its end. */
  ended?: { at: string; exitCode: number; limitsHit?: HitFacts };
}

const folderOf = (root: string, id: string): string => `${root}/containers/${id}`;
const nameLink = (root: string, name: string): string => `${root}/containers/.names/${name}`;

/** Makes the container's folder: upper and work for overlayfs, rootfs to mount it on. Throws if the name is taken. */
export function createContainer(root: string, record: ContainerRecord): string {
  const folder = folderOf(root, record.id);
  mkdirSync(`${root}/containers`, { recursive: true, mode: 0o700 });
  mkdirSync(folder, { mode: 0o700 });
  try {
    if (record.name) takeName(root, record.name, record.id);
  } catch (error) {
    rmdirSync(folder);
    throw error;
  }
  mkdirSync(`${folder}/upper`, { mode: 0o755 });
  if (record.idMaps) chownSync(`${folder}/upper`, hostId(record.idMaps.uid, 0)!, hostId(record.idMaps.gid, 0)!);
  mkdirSync(`${folder}/work`, { mode: 0o700 });
  mkdirSync(`${folder}/rootfs`, { mode: 0o700 });
  writeRecord(root, record);
  return folder;
}

/** Call it when the container's folder is there: a name without one is taken for a dead container's. */
function takeName(root: string, name: string, id: string): void {
  mkdirSync(`${root}/containers/.names`, { recursive: true, mode: 0o700 });
  try {
    symlinkSync(id, nameLink(root, name));
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error;
    const owner = ownerOf(root, name);
    if (owner === undefined || !existsSync(folderOf(root, owner))) {
      rmSync(nameLink(root, name), { force: true });
      takeName(root, name, id);
      return;
    }
    throw new ContainerError(`the name ${name} is in use by container ${owner.slice(0, 12)}`, {
      hint: `tinyctr rm ${name}, or choose another name`,
    });
  }
}

/** @throws ContainerError if the name is taken; then nothing has changed */
export function renameContainer(root: string, record: ContainerRecord, name: string): void {
  if (record.name === name) throw new ContainerError(`that is its name already: ${name}`, { exitCode: 1 });
  takeName(root, name, record.id);
  writeRecord(root, { ...record, name });
  if (record.name) rmSync(nameLink(root, record.name), { force: true });
}

export function writeRecord(root: string, record: ContainerRecord): void {
  const file = `${folderOf(root, record.id)}/container.json`;
  writeFileSync(`${file}.new`, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

export function readRecord(root: string, id: string): ContainerRecord | undefined {
  try {
    return JSON.parse(readFileSync(`${folderOf(root, id)}/container.json`, 'utf8')) as ContainerRecord;
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    if (error instanceof SyntaxError) return damaged(id);
    throw error;
  }
}

/** What is shown of a container whose record can't be read: it can be listed and removed, and the others work. */
function damaged(id: string): ContainerRecord {
  const nothing = { name: undefined, command: [], labels: {}, stopSignal: undefined };
  return { id, image: '', imageName: '(damaged record)', created: new Date(0).toISOString(), ...nothing };
}

export const isDamaged = ({ image }: ContainerRecord): boolean => image === '';

/** Record, writable layer and name are gone afterwards, also those of a container that was only half made. */
export function removeContainer(root: string, id: string): void {
  dropName(root, id, readRecord(root, id)); // first: a name without a folder is anybody's
  const containers = openSync(`${root}/containers`, 'r');
  removeTree(containers, id); // what the container wrote may be deeper than any path
  closeSync(containers);
}

/** Of a container that nobody runs any more, and whose end nobody has seen. One that was created and did not get to run stays so. */
export function endRecord(root: string, id: string, remove: boolean): void {
  const record = readRecord(root, id);
  const ran = record && (record.started !== undefined || record.boot !== undefined);
  if (remove || !record) removeContainer(root, id);
  else if (ran && !record.ended)
    writeRecord(root, { ...record, ended: { at: new Date().toISOString(), exitCode: 137 } });
}

/** Without a record, or with a damaged one, it may have had a name all the same: then all names are looked at. */
function dropName(root: string, id: string, record: ContainerRecord | undefined): void {
  const folder = `${root}/containers/.names`;
  const known = record !== undefined && !isDamaged(record);
  const names = known ? [record.name] : existsSync(folder) ? readdirSync(folder) : [];
  for (const name of names) if (name && ownerOf(root, name) === id) rmSync(nameLink(root, name), { force: true });
}

function ownerOf(root: string, name: string): string | undefined {
  try {
    return readlinkSync(nameLink(root, name));
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** All that have a folder, with a record or without. */
function containerIds(root: string): string[] {
  if (!existsSync(`${root}/containers`)) return [];
  return readdirSync(`${root}/containers`).filter((name) => /^[0-9a-f]{64}$/.test(name));
}

export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

/** It ran when the machine went down. */
export const isLost = ({ ended, boot }: ContainerRecord): boolean => !ended && boot !== undefined && boot !== bootId();

/** Neither running nor ended: of an earlier boot, whose run folder went with the machine's memory. A record may be missing. */
export function lostContainers(root: string, runRoot: string): { id: string; record: ContainerRecord | undefined }[] {
  const bootMs = Date.now() - 1000 * process.getBuiltinModule('node:os').uptime();
  return containerIds(root).flatMap((id) => {
    if (existsSync(`${runRoot}/${id}`)) return [];
    const record = readRecord(root, id);
    const { mtimeMs = bootMs } = statSync(folderOf(root, id), { throwIfNoEntry: false }) ?? {};
    return (record ? isLost(record) : mtimeMs < bootMs) ? [{ id, record }] : [];
  });
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
