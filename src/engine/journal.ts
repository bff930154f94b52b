/**
 * The journal of events: what happened to containers, images and volumes, a line of docker's JSON each, below <root>/events.
 * Whoever does a thing tells it. Processes need no lock for that: a batch is one write(2) with O_APPEND. Host side.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { syscall } from '../core/host/syscall.ts';
import { LOCK_EX, LOCK_NB } from '../core/kernel/constants.ts';

/** Bytes; a journal of this size is put aside, and the one that was put aside before is dropped. */
export const FULL_BYTES = 4 << 20;

export interface Event {
  type: 'container' | 'image' | 'volume';
  /** docker's word: start, die, tag, mount … */
  action: string;
  /** A container's id, an image's name or digest, a volume's name. */
  id: string;
  /** `name`, `image`, `exitCode` and so on; of a container its labels as well. */
  attributes: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  atMs: number;
}

/** What is told of a container: part of its record. */
interface Told {
  id: string;
  name: string | undefined;
  imageName: string;
  labels: Readonly<Record<string, string>>;
}

/** It happens now. */
export function containerEvent(
  { id, name = '', imageName, labels }: Told,
  action: string,
  more: Readonly<Record<string, string>> = {},
): Event {
  return {
    type: 'container',
    action,
    id,
    attributes: { ...labels, ...more, image: imageName, name: more.name ?? name },
    atMs: Date.now(),
  };
}

/** Of a container that has ended: oom where its limit of memory was hit, and die. */
export function endEvents(record: Told, exitCode: number, limitsHit: { memory?: unknown } = {}): Event[] {
  const oom = limitsHit.memory ? [containerEvent(record, 'oom')] : [];
  return [...oom, containerEvent(record, 'die', { exitCode: String(exitCode) })];
}

/** It happens now. `id` is docker's: a name for pull and push, else sha256:…; `name` the image's name, or the digest again. */
export function imageEvent(action: string, id: string, name: string): Event {
  return { type: 'image', action, id, attributes: { name }, atMs: Date.now() };
}

/** It happens now: create, destroy; mount and unmount with `container`, `destination` and so on. */
export function volumeEvent(action: string, name: string, more: Readonly<Record<string, string>> = {}): Event {
  return { type: 'volume', action, id: name, attributes: { driver: 'local', ...more }, atMs: Date.now() };
}

/** Of what was unused of one type; `bytes`: what that gave back. */
export function pruneEvent(type: Event['type'], bytes: number): Event {
  return { type, action: 'prune', id: '', attributes: { reclaimed: String(bytes) }, atMs: Date.now() };
}

export const journalFolder = (root: string): string => `${root}/events`;
export const journalFile = (root: string): string => `${journalFolder(root)}/journal`;
/** The one that was put aside. */
export const olderFile = (root: string): string => `${journalFile(root)}.1`;

let warned = false;

/** Writes them down, in this order, by one write. Never throws: what is told matters less than what was done; a warning comes once. */
export function tell(root: string, events: readonly Event[]): void {
  if (events.length === 0) return;
  // A line feed comes first as well: what stands before may have been cut off by a full disk.
  const text = `\n${events.map(line).join('\n')}\n`;
  try {
    const fd = open(root);
    try {
      if (writeSync(fd, text) < text.length) throw new Error('no space left on device');
      if (fstatSync(fd).size > FULL_BYTES) putAside(root, fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (!warned)
      writeSync(
        2,
        `tinyctr: warning: events could not be written to ${journalFile(root)}: ${(error as Error).message}\n`,
      );
    warned = true;
  }
}

function open(root: string): number {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
  try {
    return openSync(journalFile(root), flags, 0o600);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    mkdirSync(journalFolder(root), { recursive: true, mode: 0o700 });
    return openSync(journalFile(root), flags, 0o600);
  }
}

/** One of those who see that it is full does it; who has it open still writes into it, and readers look there as well. */
function putAside(root: string, fd: number): void {
  if (syscall('flock', [fd, LOCK_EX | LOCK_NB], ['EAGAIN']) < 0) return;
  const current = statSync(journalFile(root), { throwIfNoEntry: false });
  if (current?.ino === fstatSync(fd).ino) renameSync(journalFile(root), olderFile(root));
}

/** The fields and their order are those of `docker events --format json`; `status`, `id` and `from` are its older names for the same. */
function line({ type, action, id, attributes, atMs }: Event): string {
  const older =
    type === 'volume' ? {} : { status: action, id, ...(type === 'container' && { from: attributes.image }) };
  const text = JSON.stringify({
    ...older,
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: 'local',
    time: Math.floor(atMs / 1000),
  });
  return `${text.slice(0, -1)},"timeNano":${atMs}000000}`; // more than a double holds
}
