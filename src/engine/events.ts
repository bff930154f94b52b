/** The journal read back: what `tinyctr events` shows of it. Host side. */
import { closeSync, constants, fstatSync, mkdirSync, openSync, readSync, watch } from 'node:fs';
import { cut } from './identity.ts';
import { journalFile, journalFolder, olderFile } from './journal.ts';
import { UsageError } from './usage-error.ts';

const CHUNK = 1 << 18;

/** A line of the journal, with docker's names. */
export interface ToldEvent {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  /** Nanoseconds since 1970, as digits: a number would lose the last ones. */
  nanos: string;
  /** The line itself. */
  json: string;
}

interface OpenFile {
  fd: number;
  ino: number;
  rest: Buffer;
}

/**
 * Reads the journal on and on: each call of `read` gives what has come since the last one, once, also when the file was put aside
 * meanwhile. The one before the current one stays open: who had opened it to write may still do so.
 */
export class JournalReader {
  private readonly root: string;
  /** The oldest first. */
  private files: OpenFile[] = [];

  constructor(root: string) {
    this.root = root;
  }

  read(): ToldEvent[] {
    this.openNew();
    const events = this.files.flatMap(readMore);
    for (const { fd } of this.files.slice(0, -2)) closeSync(fd);
    this.files = this.files.slice(-2);
    return events;
  }

  close(): void {
    for (const { fd } of this.files) closeSync(fd);
    this.files = [];
  }

  /** A file that is held open can't give its inode number to another one. */
  private openNew(): void {
    const current = openFile(journalFile(this.root));
    const older = openFile(olderFile(this.root));
    for (const file of [older, current])
      if (file && this.files.every(({ ino }) => ino !== file.ino)) this.files.push(file);
      else if (file) closeSync(file.fd);
  }
}

function openFile(path: string): OpenFile | undefined {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    return { fd, ino: fstatSync(fd).ino, rest: Buffer.alloc(0) };
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole lines only; one that a full disk has cut off is left out. */
function readMore(file: OpenFile): ToldEvent[] {
  const chunk = Buffer.alloc(CHUNK);
  const pieces = [file.rest];
  for (let length = readSync(file.fd, chunk); length > 0; length = readSync(file.fd, chunk))
    pieces.push(Buffer.from(chunk.subarray(0, length)));
  const bytes = Buffer.concat(pieces);
  const end = bytes.lastIndexOf(10) + 1;
  file.rest = bytes.subarray(end);
  return bytes.toString('utf8', 0, end).split('\n').flatMap(parseEvent);
}

export function parseEvent(json: string): ToldEvent[] {
  const nanos = /"timeNano":(\d{7,})\}$/.exec(json)?.[1];
  if (nanos === undefined) return [];
  try {
    const { Type, Action, Actor } = JSON.parse(json) as ToldEvent;
    return [{ Type, Action, Actor, nanos, json }];
  } catch {
    return [];
  }
}

export const momentOf = ({ nanos }: ToldEvent): number => Number(nanos.slice(0, -6));

/** Calls `write` with what comes, until `untilMs` (since 1970) or for ever; inotify(7) tells, and once a second it is looked at anyway. */
export async function followEvents(
  root: string,
  reader: JournalReader,
  untilMs: number | undefined,
  write: (events: readonly ToldEvent[]) => void,
): Promise<void> {
  mkdirSync(journalFolder(root), { recursive: true, mode: 0o700 });
  let wake = () => {};
  const watcher = watch(journalFolder(root), () => wake());
  watcher.on('error', () => undefined);
  try {
    for (;;) {
      const leftMs = untilMs === undefined ? 1000 : Math.min(1000, untilMs - Date.now());
      const more = new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, leftMs));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      write(reader.read());
      if (leftMs <= 0) return;
      await more;
    }
  } finally {
    watcher.close();
  }
}

/** `2026-11-30T10:12:51.094000000Z container start ID (image=…, name=…)`, in the local time zone, as docker prints it. */
export function eventText({ Type, Action, Actor, nanos }: ToldEvent): string {
  const names = Object.keys(Actor.Attributes).sort();
  const attributes = names.map((name) => `${name}=${Actor.Attributes[name]}`).join(', ');
  return `${localTime(nanos)} ${Type} ${Action} ${Actor.ID}${names.length > 0 ? ` (${attributes})` : ''}`;
}

function localTime(nanos: string): string {
  const at = new Date(Number(nanos.slice(0, -6)));
  const offset = -at.getTimezoneOffset();
  const local = new Date(at.getTime() + offset * 60_000).toISOString().slice(0, 19);
  const two = (number: number) => String(Math.floor(number)).padStart(2, '0');
  const size = Math.abs(offset);
  const zone = offset === 0 ? 'Z' : `${offset < 0 ? '-' : '+'}${two(size / 60)}:${two(size % 60)}`;
  return `${local}.${nanos.slice(-9)}${zone}`;
}

type Test = (value: string, event: ToldEvent) => boolean;

const starts = (text: string | undefined, value: string): boolean => text?.startsWith(value) === true;
const ofType =
  (type: string): Test =>
  (value, { Type, Actor }) =>
    Type === type && (starts(Actor.ID, value) || starts(Actor.Attributes.name, value));

/** docker's; what is named may be the beginning of an id or a name. */
const tests: Record<string, Test> = {
  type: (value, { Type }) => Type === value,
  event: (value, { Action }) => Action === value || Action.startsWith(`${value}: `),
  container: ofType('container'),
  volume: ofType('volume'),
  image: (value, { Type, Actor }) => {
    const names = Type === 'image' ? [Actor.ID, Actor.Attributes.name] : [Actor.Attributes.image];
    return names.some((name) => name !== undefined && (name === value || name.replace(/:[^:/]*$/, '') === value));
  },
  label: (value, { Type, Actor: { Attributes } }) => {
    const [key, wanted] = cut(value, '=');
    return (
      Type === 'container' && Object.hasOwn(Attributes, key) && (wanted === undefined || Attributes[key] === wanted)
    );
  },
};

/** Of several with one name, one is enough, but every label counts; of several names, each counts. @throws UsageError */
export function eventFilter(texts: readonly string[]): (event: ToldEvent) => boolean {
  const given = texts.map((text) => {
    const [name, value] = cut(text, '=');
    if (!Object.hasOwn(tests, name) || value === undefined)
      throw new UsageError(`--filter '${text}' is not understood: give ${Object.keys(tests).join('=…, ')}=…`);
    return { name, value };
  });
  const groups = new Map<string, string[]>();
  for (const { name, value } of given) {
    const key = name === 'label' ? `label ${value}` : name;
    groups.set(key, [...(groups.get(key) ?? []), value]);
  }
  return (event) =>
    [...groups].every(([key, values]) => values.some((value) => tests[key.split(' ')[0]!]!(value, event)));
}
