/**
 * One header block of an archive. tar's Header checks the checksum and decodes the numbers; names and device numbers
 * are read here, because tar makes text of every name (a name is bytes) and skips devices in GNU's own format.
 * Source: POSIX pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
 */
import { Header } from 'tar/header';

export const BLOCK = 512;

/** The fields of one block, before pax and long-name records changed them. Names are byte strings. */
export interface HeaderBlock {
  typeflag: string;
  name: string;
  linkname: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeSeconds: number;
  devMajor: number;
  devMinor: number;
}

export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
}

/** The bytes of a field up to its first NUL. */
export function field(block: Buffer, offset: number, length: number): string {
  const text = block.toString('latin1', offset, offset + length);
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}

/** An octal field. Throws ArchiveError where anything but octal digits, blanks and NULs stands. */
export function octal(block: Buffer, offset: number, length: number): number {
  const text = field(block, offset, length).trim();
  if (!/^[0-7]*$/.test(text)) throw new ArchiveError(`${JSON.stringify(text)} where an octal number belongs`);
  return text === '' ? 0 : Number.parseInt(text, 8);
}

export function isZeroBlock(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0);
}

/** Decodes one block of 512 bytes. Throws ArchiveError for a wrong checksum and for a number that can't be one. */
export function readHeader(block: Buffer): HeaderBlock {
  const decoded = decode(block);
  if (!decoded.cksumValid)
    throw new ArchiveError('the checksum of a header is wrong: not a tar archive, or a damaged one');
  const magic = block.toString('latin1', 257, 263);
  const hasDevice = magic === 'ustar\0' || magic === 'ustar ';
  return {
    typeflag: String.fromCharCode(block[156] ?? 0),
    name: readName(block, magic),
    linkname: field(block, 157, 100),
    mode: count(decoded.mode, 'mode') & 0o7777,
    uid: count(decoded.uid, 'uid'),
    gid: count(decoded.gid, 'gid'),
    size: readSize(block),
    mtimeSeconds: (decoded.mtime?.getTime() ?? 0) / 1000,
    devMajor: hasDevice ? octal(block, 329, 8) : 0,
    devMinor: hasDevice ? octal(block, 337, 8) : 0,
  };
}

function decode(block: Buffer): Header {
  try {
    return new Header(block, 0);
  } catch (error) {
    throw new ArchiveError(`a header has a number that can't be read: ${(error as Error).message}`);
  }
}

/** tar's Header sets the size of a directory to 0 and ignores garbage; a size decides what is read next, so it is read strictly. */
function readSize(block: Buffer): number {
  if (((block[124] ?? 0) & 0x80) === 0) return octal(block, 124, 12);
  let size = BigInt((block[124] ?? 0) & 0x7f);
  if (((block[124] ?? 0) & 0x40) !== 0) throw new ArchiveError('a header has a negative size');
  for (let i = 125; i < 136; i++) size = (size << 8n) | BigInt(block[i] ?? 0);
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new ArchiveError(`a header has a size of ${size} bytes`);
  return Number(size);
}

function count(value: number | undefined, what: string): number {
  if (value === undefined) return 0;
  if (!Number.isSafeInteger(value) || value < 0) throw new ArchiveError(`a header has ${what} ${value}`);
  return value;
}

/** ustar splits a long name into prefix and name; star keeps times in the end of the prefix; GNU has other things there. */
function readName(block: Buffer, magic: string): string {
  const name = field(block, 0, 100);
  if (magic !== 'ustar\0') return name;
  const star = block.toString('latin1', 508, 512) === 'tar\0';
  const prefix = field(block, 345, star ? 131 : 155);
  return prefix === '' ? name : `${prefix}/${name}`;
}
