/**
 * Reads an archive entry by entry: header, pax and long-name records, sparse maps, data. Pure: a generator that asks
 * for bytes and tells a sink; feed.ts brings the bytes. Formats: v7, ustar, pax, GNU, star.
 */
import type { Limits } from '../limits.ts';
import type { Entry, EntrySink, EntryType, Extent } from './entry.ts';
import { ArchiveError, BLOCK, type HeaderBlock, isZeroBlock, readHeader } from './header.ts';
import { type PaxRecords, paxCount, paxName, paxTime, readPaxRecords } from './pax.ts';
import { checkExtents, readDataSparse, readOldSparse, readPaxSparse } from './sparse.ts';

/** `n` > 0: exactly n bytes, less only at the archive's end. `n` < 0: at least one byte, at most -n. */
export type Want = number;
type Reading<T> = Generator<Want, T, Buffer>;
export type ReaderLimits = Pick<Limits, 'entries' | 'headerBytes' | 'extents'>;

const types: Record<string, EntryType> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  D: 'directory',
  '6': 'fifo',
};

/** What the records before a header say about the entry that follows them. */
interface Pending {
  records: PaxRecords;
  longName?: string;
  longLink?: string;
}

/** Reads to the two zero blocks, or to the end of the bytes where an entry could begin. Throws ArchiveError. */
export function* readArchive(sink: EntrySink, limits: ReaderLimits): Reading<void> {
  let globals: PaxRecords = [];
  let pending: Pending = { records: [] };
  for (let entries = 0; ; ) {
    const block = yield BLOCK;
    if (block.length === 0) return;
    need(block, BLOCK);
    if (isZeroBlock(block)) return yield* readEndOfArchive();
    const header = readHeader(block);
    if ('xXgLK'.includes(header.typeflag)) {
      const data = yield* readMetadata(header, limits.headerBytes);
      if (header.typeflag === 'g') globals = readGlobals(data);
      else pending = addPending(pending, header.typeflag, data);
      continue;
    }
    if (++entries > limits.entries) throw new ArchiveError(`the archive has more than ${limits.entries} entries`);
    if (header.typeflag !== 'V') yield* readEntry(header, block, pending, globals, sink, limits);
    pending = { records: [] };
  }
}

function* readEndOfArchive(): Reading<void> {
  const second = yield BLOCK;
  if (second.length === BLOCK && !isZeroBlock(second))
    throw new ArchiveError('an archive ends with two blocks of zeros, but after the first one more follows');
}

function need(bytes: Buffer, length: number): Buffer {
  if (bytes.length < length) throw new ArchiveError('the archive is truncated: it ends within an entry');
  return bytes;
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function* readMetadata(header: HeaderBlock, maxBytes: number): Reading<Buffer> {
  if (header.size > maxBytes)
    throw new ArchiveError(`a header of ${header.size} bytes, where at most ${maxBytes} are allowed`);
  const padded = header.size + padding(header.size);
  if (padded === 0) return Buffer.alloc(0);
  return Buffer.from(need(yield padded, padded).subarray(0, header.size));
}

/** A global header may set owner and time for what follows; a name, link or size for every file makes no sense. */
function readGlobals(data: Buffer): PaxRecords {
  const records = readPaxRecords(data);
  const absurd = records.find(([key]) => /^(path|linkpath|size)$|^GNU\.sparse\.|^SCHILY\.xattr\./.test(key));
  if (absurd) throw new ArchiveError(`a global pax header sets ${absurd[0]} for every file`);
  return records;
}

function addPending(pending: Pending, typeflag: string, data: Buffer): Pending {
  if (typeflag === 'L') return { ...pending, longName: longName(data) };
  if (typeflag === 'K') return { ...pending, longLink: longName(data) };
  return { ...pending, records: readPaxRecords(data) };
}

function longName(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('latin1', 0, end < 0 ? data.length : end);
}

function* readEntry(
  header: HeaderBlock,
  block: Buffer,
  pending: Pending,
  globals: PaxRecords,
  sink: EntrySink,
  limits: ReaderLimits,
): Reading<void> {
  const { entry, stored: inHeader } = makeEntry(header, pending, globals);
  let stored = inHeader;
  if (entry.type === 'file') {
    const sparse = yield* readSparseMap(header.typeflag, block, pending.records, stored, limits.extents);
    if (sparse) {
      stored -= sparse.mapBytes;
      entry.size = sparse.realSize;
      checkExtents(sparse.extents, entry.size, stored);
      entry.extents = sparse.extents.filter(({ length }) => length > 0); // an empty run only marks the end
    }
  }
  sink.begin(entry);
  yield* readData(entry, stored, sink);
  sink.end(entry);
}

/** Applies the records, the later over the earlier, the entry's own over the global ones. */
function makeEntry(header: HeaderBlock, pending: Pending, globals: PaxRecords): { entry: Entry; stored: number } {
  const type = types[header.typeflag];
  if (type === undefined)
    throw new ArchiveError(`an entry of type ${JSON.stringify(header.typeflag)}, which no container image can have`);
  const xattrs = new Map<string, Buffer>();
  const entry: Entry = {
    type,
    name: pending.longName ?? header.name,
    linkname: pending.longLink ?? header.linkname,
    mode: header.mode,
    uid: header.uid,
    gid: header.gid,
    mtimeNs: BigInt(Math.trunc(header.mtimeSeconds)) * 1_000_000_000n,
    devMajor: header.devMajor,
    devMinor: header.devMinor,
    size: header.size,
    xattrs,
  };
  for (const [key, value] of globals) applyRecord(entry, xattrs, key, value);
  for (const [key, value] of pending.records) applyRecord(entry, xattrs, key, value);
  if (entry.name.endsWith('/') && type === 'file') entry.type = 'directory'; // how archives before ustar wrote it
  if (entry.name === '') throw new ArchiveError('an entry has no name');
  const stored = entry.type === 'file' || header.typeflag === 'D' ? entry.size : 0;
  entry.size = entry.type === 'file' ? entry.size : 0;
  return { entry, stored };
}

function applyRecord(entry: Entry, xattrs: Map<string, Buffer>, key: string, value: Buffer): void {
  // POSIX: an empty value takes the record back.
  if (value.length === 0 && !key.startsWith('SCHILY.xattr.')) return;
  if (key === 'path' || key === 'GNU.sparse.name') entry.name = paxName(key, value);
  else if (key === 'linkpath') entry.linkname = paxName(key, value);
  else if (key === 'size') entry.size = paxCount(key, value);
  else if (key === 'uid') entry.uid = paxCount(key, value);
  else if (key === 'gid') entry.gid = paxCount(key, value);
  else if (key === 'mtime') entry.mtimeNs = paxTime(key, value);
  else if (key.startsWith('SCHILY.xattr.')) xattrs.set(key.slice('SCHILY.xattr.'.length), value);
}

interface SparseMap {
  realSize: number;
  extents: Extent[];
  /** How much of the stored data the map itself took. */
  mapBytes: number;
}

function* readSparseMap(
  typeflag: string,
  block: Buffer,
  records: PaxRecords,
  stored: number,
  maxExtents: number,
): Reading<SparseMap | undefined> {
  if (typeflag === 'S') {
    const header = Buffer.from(block); // the map may go on in the next blocks, and the memory is only lent
    const [realSize, extents] = yield* whole(readOldSparse(header, maxExtents));
    return { realSize, extents, mapBytes: 0 };
  }
  const last = (key: string) => records.findLast(([name]) => name === key)?.[1];
  const size = last('GNU.sparse.realsize') ?? last('GNU.sparse.size');
  if (size === undefined) return undefined;
  const realSize = paxCount('GNU.sparse.realsize', size);
  if (last('GNU.sparse.major')?.toString('latin1') === '1') {
    const [mapBytes, extents] = yield* whole(readDataSparse(stored, maxExtents));
    return { realSize, extents, mapBytes };
  }
  return { realSize, extents: readPaxSparse(records, maxExtents), mapBytes: 0 };
}

/** Hands on what a map's reader asks for, and checks that it got all of it. */
function* whole<T>(reading: Reading<T>): Reading<T> {
  let step = reading.next();
  while (!step.done) step = reading.next(need(yield step.value, step.value));
  return step.value;
}

function* readData(entry: Entry, stored: number, sink: EntrySink): Reading<void> {
  const extents = entry.extents ?? [{ offset: 0, length: stored }];
  for (const { offset, length } of extents) {
    let position = offset;
    const end = offset + length;
    while (position < end) {
      const chunk = need(yield position - end, 1);
      if (entry.type === 'file') sink.data(chunk, position);
      position += chunk.length;
    }
  }
  const rest = padding(stored);
  if (rest > 0) need(yield rest, rest);
}
