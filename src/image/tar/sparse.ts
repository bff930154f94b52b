/**
 * Where the data of a sparse file lies: GNU's old format in header blocks and the three pax formats 0.0, 0.1 and 1.0.
 * Pure. Source: GNU tar manual, "Storing Sparse Files".
 */
import type { Extent } from './entry.ts';
import { ArchiveError, BLOCK, octal } from './header.ts';
import { type PaxRecords, paxCount } from './pax.ts';

const OLD_SLOTS_IN_HEADER = 4;
const OLD_SLOTS_IN_BLOCK = 21;

/** The slots of one block of GNU's old format: `offset` 386 in the header itself, 0 in a block that continues it. */
function readOldSlots(block: Buffer, offset: number, slots: number): Extent[] {
  const extents: Extent[] = [];
  for (let slot = 0; slot < slots; slot++) {
    const at = offset + slot * 24;
    if (block[at] === 0) break;
    extents.push({ offset: sparseNumber(block, at), length: sparseNumber(block, at + 12) });
  }
  return extents;
}

/** Like a size: octal, or base 256 for what is beyond 8 GiB. */
function sparseNumber(block: Buffer, at: number): number {
  if (((block[at] ?? 0) & 0x80) === 0) return octal(block, at, 12);
  const value = block.readBigUInt64BE(at + 4);
  if (block[at] !== 0x80 || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ArchiveError('a sparse file has a number that is negative or too large');
  return Number(value);
}

/** GNU's typeflag S. Asks for more blocks with the generator's yield while the map goes on. */
export function* readOldSparse(header: Buffer, maxExtents: number): Generator<number, [number, Extent[]], Buffer> {
  const realSize = sparseNumber(header, 483);
  const extents = readOldSlots(header, 386, OLD_SLOTS_IN_HEADER);
  let more = header[482] !== 0;
  while (more) {
    const block = yield BLOCK;
    extents.push(...readOldSlots(block, 0, OLD_SLOTS_IN_BLOCK));
    if (extents.length > maxExtents) throw tooMany(maxExtents);
    more = block[504] !== 0;
  }
  return [realSize, extents];
}

/** Formats 0.0 (pairs of records) and 0.1 (one record GNU.sparse.map). */
export function readPaxSparse(records: PaxRecords, maxExtents: number): Extent[] {
  const numbers: number[] = [];
  for (const [key, value] of records) {
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') numbers.push(paxCount(key, value));
    if (key === 'GNU.sparse.map' && value.length > 0)
      for (const part of value.toString('latin1').split(',')) numbers.push(paxCount(key, Buffer.from(part)));
  }
  return pairs(numbers, maxExtents);
}

/** Format 1.0: decimal lines at the start of the file's data, filled up to a block. Returns the bytes used as well. */
export function* readDataSparse(stored: number, maxExtents: number): Generator<number, [number, Extent[]], Buffer> {
  const numbers: number[] = [];
  let text = '';
  let used = 0;
  let wanted = 1;
  while (numbers.length < wanted) {
    if (used + BLOCK > stored) throw new ArchiveError('the map of a sparse file is longer than the file');
    text += (yield BLOCK).toString('latin1');
    used += BLOCK;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) if (numbers.length < wanted) wanted = addLine(numbers, line, maxExtents) ?? wanted;
  }
  return [used, pairs(numbers.slice(1), maxExtents)];
}

/** The first line says how many pairs follow: the result is then how many lines the map has in all. */
function addLine(numbers: number[], line: string, maxExtents: number): number | undefined {
  const number = paxCount('map', Buffer.from(line.slice(0, 20)));
  numbers.push(number);
  if (numbers.length > 1) return undefined;
  if (number > maxExtents) throw tooMany(maxExtents);
  return 1 + 2 * number;
}

function pairs(numbers: readonly number[], maxExtents: number): Extent[] {
  if (numbers.length % 2 !== 0) throw new ArchiveError('the map of a sparse file has an odd number of numbers');
  if (numbers.length / 2 > maxExtents) throw tooMany(maxExtents);
  const extents: Extent[] = [];
  for (let i = 0; i < numbers.length; i += 2) extents.push({ offset: numbers[i]!, length: numbers[i + 1]! });
  return extents;
}

/** In order, without overlap, inside the file, and together exactly what the archive stores. Throws ArchiveError. */
export function checkExtents(extents: readonly Extent[], realSize: number, stored: number): void {
  let end = 0;
  let total = 0;
  for (const { offset, length } of extents) {
    if (offset < end || offset + length > realSize)
      throw new ArchiveError('the map of a sparse file contradicts itself');
    end = offset + length;
    total += length;
  }
  if (total !== stored)
    throw new ArchiveError(`a sparse file's map speaks of ${total} bytes, but ${stored} are stored`);
}

function tooMany(maxExtents: number): ArchiveError {
  return new ArchiveError(`a sparse file has more than ${maxExtents} runs of data`);
}
