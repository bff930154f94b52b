/**
 * Entries as the header blocks of an archive: ustar, with pax records for what ustar has no room for. The same entry
 * gives the same bytes everywhere. Pure. Sparse files are written in GNU's pax format 1.0.
 */
import type { Entry, EntryType, Extent } from './entry.ts';
import { BLOCK } from './header.ts';

const typeflags: Record<EntryType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};
const MOST_OCTAL_7 = 0o7777777;
const MOST_OCTAL_11 = 0o77777777777;

/** The two zero blocks at the end of an archive. */
export const endOfArchive = Buffer.alloc(2 * BLOCK);

/** Zeros that fill `size` bytes up to whole blocks. */
export function paddingOf(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** Everything that stands before an entry's data. For a sparse file the data are its runs one after another. */
export function encodeHeader(entry: Entry): Buffer {
  const map = entry.extents ? encodeMap(entry.extents, entry.size) : Buffer.alloc(0);
  const data = entry.extents ? entry.extents.reduce((sum, { length }) => sum + length, 0) : entry.size;
  const stored = map.length + data;
  const records = paxRecords(entry, stored);
  const header = encodeBlock(entry, typeflags[entry.type], entry.type === 'file' ? stored : 0);
  if (records.length === 0) return Buffer.concat([header, map]);
  const body = Buffer.concat(records);
  const pax: Entry = { ...entry, name: 'PaxHeaders/entry', linkname: '', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n };
  return Buffer.concat([encodeBlock(pax, 'x', body.length), body, paddingOf(body.length), header, map]);
}

/** A hole at the end is said by an empty run there: GNU tar makes the file no longer than its last run. */
function encodeMap(extents: readonly Extent[], size: number): Buffer {
  const last = extents.at(-1);
  const runs = last && last.offset + last.length === size ? extents : [...extents, { offset: size, length: 0 }];
  const numbers = [runs.length, ...runs.flatMap(({ offset, length }) => [offset, length])];
  const text = Buffer.from(`${numbers.join('\n')}\n`);
  return Buffer.concat([text, paddingOf(text.length)]);
}

function paxRecords(entry: Entry, stored: number): Buffer[] {
  const records: Buffer[] = [];
  const add = (key: string, value: string | Buffer) => records.push(paxRecord(key, value));
  if (entry.extents) {
    add('GNU.sparse.major', '1');
    add('GNU.sparse.minor', '0');
    add('GNU.sparse.name', Buffer.from(entry.name, 'latin1'));
    add('GNU.sparse.realsize', String(entry.size));
  } else if (!fits(entry.name)) add('path', Buffer.from(entry.name, 'latin1'));
  if (!fits(entry.linkname)) add('linkpath', Buffer.from(entry.linkname, 'latin1'));
  if (stored > MOST_OCTAL_11) add('size', String(stored));
  if (entry.uid > MOST_OCTAL_7) add('uid', String(entry.uid));
  if (entry.gid > MOST_OCTAL_7) add('gid', String(entry.gid));
  if (wholeSeconds(entry.mtimeNs) === undefined) add('mtime', paxTimeText(entry.mtimeNs));
  for (const [name, value] of [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1)))
    add(`SCHILY.xattr.${name}`, value);
  return records;
}

/** ASCII that fits the field; anything else is said in a pax record. */
function fits(name: string): boolean {
  return name.length <= 100 && /^[\x01-\x7e]*$/.test(name);
}

/** The seconds, when there is no fraction and ustar's field has room for them. */
function wholeSeconds(mtimeNs: bigint): number | undefined {
  const seconds = Number(mtimeNs / 1_000_000_000n);
  return mtimeNs % 1_000_000_000n === 0n && seconds >= 0 && seconds <= MOST_OCTAL_11 ? seconds : undefined;
}

function paxTimeText(mtimeNs: bigint): string {
  const magnitude = mtimeNs < 0n ? -mtimeNs : mtimeNs;
  const fraction = (magnitude % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
  return `${mtimeNs < 0n ? '-' : ''}${magnitude / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`;
}

/** "<length> <key>=<value>\n", the length counting its own digits. */
function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), Buffer.from(value as string), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function encodeBlock(entry: Entry, typeflag: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, digits: number) =>
    block.write(
      Math.min(value, 8 ** digits - 1)
        .toString(8)
        .padStart(digits, '0'),
      offset,
      'latin1',
    );
  block.write(entry.name.slice(0, 100), 0, 'latin1');
  octal(entry.mode, 100, 7);
  octal(entry.uid, 108, 7);
  octal(entry.gid, 116, 7);
  octal(size, 124, 11);
  octal(wholeSeconds(entry.mtimeNs) ?? 0, 136, 11);
  block.write(typeflag, 156, 'latin1');
  block.write(entry.linkname.slice(0, 100), 157, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(entry.devMajor, 329, 7);
  octal(entry.devMinor, 337, 7);
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
