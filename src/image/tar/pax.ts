/**
 * The records of a pax extended header, read as bytes: a value may hold newlines, NULs and no valid UTF-8 (file
 * capabilities do). Pure. Source: POSIX pax "pax Extended Header".
 */
import { ArchiveError } from './header.ts';

/** In the order of the archive; keys and the bytes of the values, still part of the header's memory. */
export type PaxRecords = readonly (readonly [key: string, value: Buffer])[];

const NEWLINE = 0x0a;
const SPACE = 0x20;
const EQUALS = 0x3d;

/** Every record is "<length> <key>=<value>\n", the length counting itself. Throws ArchiveError for anything else. */
export function readPaxRecords(bytes: Buffer): PaxRecords {
  const records: [string, Buffer][] = [];
  let at = 0;
  while (at < bytes.length && bytes[at] !== 0) {
    const end = at + recordLength(bytes, at);
    const equals = bytes.indexOf(EQUALS, at);
    if (end > bytes.length || bytes[end - 1] !== NEWLINE || equals < 0 || equals >= end) throw damaged();
    const keyStart = bytes.indexOf(SPACE, at) + 1;
    if (equals <= keyStart) throw damaged();
    records.push([bytes.toString('latin1', keyStart, equals), bytes.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

function recordLength(bytes: Buffer, at: number): number {
  const space = bytes.indexOf(SPACE, at);
  const digits = space < 0 || space - at > 8 ? '' : bytes.toString('latin1', at, space);
  if (!/^[0-9]+$/.test(digits)) throw damaged();
  const length = Number(digits);
  if (length <= digits.length + 1) throw damaged();
  return length;
}

function damaged(): ArchiveError {
  return new ArchiveError('a pax header has a damaged record');
}

/** A value as a byte string. Throws ArchiveError for a NUL, which no name can have. */
export function paxName(key: string, value: Buffer): string {
  if (value.includes(0)) throw new ArchiveError(`the pax record ${key} has a NUL byte`);
  return value.toString('latin1');
}

export function paxCount(key: string, value: Buffer): number {
  const text = value.toString('latin1');
  const number = Number(text);
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(number))
    throw new ArchiveError(`the pax record ${key} is ${JSON.stringify(text.slice(0, 40))}, not a whole number`);
  return number;
}

/** Seconds with a fraction, perhaps negative, as nanoseconds; digits beyond the ninth are cut off. */
export function paxTime(key: string, value: Buffer): bigint {
  const match = /^(-?)([0-9]{1,18})(?:\.([0-9]*))?$/.exec(value.toString('latin1'));
  if (match === null) throw new ArchiveError(`the pax record ${key} is not a time`);
  const fraction = BigInt((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  const magnitude = BigInt(match[2] ?? '0') * 1_000_000_000n + fraction;
  return match[1] === '-' ? -magnitude : magnitude;
}
