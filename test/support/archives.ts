/**
 * Archives made by hand, byte by byte: what tar programs write, and what only an attacker would. Nothing of src/image
 * is used, so a mistake there can't hide itself.
 */

export interface RawEntry {
  name: string | Buffer;
  /** The type flag; '0' is a file. */
  type?: string;
  linkname?: string | Buffer;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  data?: string | Buffer;
  devMajor?: number;
  devMinor?: number;
  /** What the header says, when it differs from the data. */
  size?: number;
  /** The 12 bytes of the size field, when they are to be something special. */
  sizeField?: Buffer;
  /** 'ustar' by default; GNU and v7 archives look different. */
  magic?: 'ustar' | 'gnu' | 'v7';
  /** Records of a pax header that goes before. */
  pax?: readonly (readonly [key: string, value: string | Buffer])[];
  /** Changes the finished block, before (default) or after the checksum is made. */
  patch?: (block: Buffer) => void;
  patchAfterChecksum?: (block: Buffer) => void;
}

const MAGIC = { ustar: 'ustar\x0000', gnu: 'ustar  \0', v7: '' };

function bytes(value: string | Buffer | undefined): Buffer {
  return value === undefined ? Buffer.alloc(0) : Buffer.from(value as string);
}

function pad(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** One block of 512 bytes. */
export function header(entry: RawEntry): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, digits: number) =>
    block.write(`${value.toString(8).padStart(digits, '0')}\0`, at, 'latin1');
  bytes(entry.name).copy(block, 0, 0, 100);
  octal(entry.mode ?? 0o644, 100, 7);
  octal(entry.uid ?? 0, 108, 7);
  octal(entry.gid ?? 0, 116, 7);
  octal(entry.size ?? bytes(entry.data).length, 124, 11);
  entry.sizeField?.copy(block, 124);
  octal(entry.mtime ?? 1_700_000_000, 136, 11);
  block.write(entry.type ?? '0', 156, 'latin1');
  bytes(entry.linkname).copy(block, 157, 0, 100);
  block.write(MAGIC[entry.magic ?? 'ustar'], 257, 'latin1');
  if (entry.devMajor !== undefined) octal(entry.devMajor, 329, 7);
  if (entry.devMinor !== undefined) octal(entry.devMinor, 337, 7);
  entry.patch?.(block);
  setChecksum(block);
  entry.patchAfterChecksum?.(block);
  return block;
}

export function setChecksum(block: Buffer): void {
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), bytes(value), Buffer.from('\n')]);
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** The header, with its pax header before it, and its data. */
export function entry(raw: RawEntry): Buffer {
  const parts: Buffer[] = [];
  if (raw.pax) {
    const records = Buffer.concat(raw.pax.map(([key, value]) => paxRecord(key, value)));
    parts.push(header({ name: 'pax', type: 'x', data: records }), pad(records));
  }
  parts.push(header(raw), pad(bytes(raw.data)));
  return Buffer.concat(parts);
}

export const end: Buffer = Buffer.alloc(1024);

/** A whole archive. */
export function archive(...entries: RawEntry[]): Buffer {
  return Buffer.concat([...entries.map(entry), end]);
}

export const directory = (name: string, more: Partial<RawEntry> = {}): RawEntry => ({
  name,
  type: '5',
  mode: 0o755,
  ...more,
});
export const file = (name: string, data = '', more: Partial<RawEntry> = {}): RawEntry => ({ name, data, ...more });
export const symlink = (name: string, linkname: string): RawEntry => ({ name, type: '2', linkname, mode: 0o777 });
export const hardLink = (name: string, linkname: string): RawEntry => ({ name, type: '1', linkname });

/** GNU's base-256 form of a number field: a set first bit, then big-endian. A negative number is in two's complement. */
export function base256(value: bigint, length = 12): Buffer {
  const field = Buffer.alloc(length);
  let rest = BigInt.asUintN(8 * length, value);
  for (let at = length - 1; at >= 0; at--) {
    field[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  field[0] = (field[0] ?? 0) | 0x80;
  return field;
}

/** The bytes in pieces of `size`, as a stream might bring them. */
export async function* inPieces(data: Buffer, size = 4096): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}
