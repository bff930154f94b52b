/** Which compression a stream has, by its first bytes, and what takes it off. Host side. */
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import { ContainerError } from '../core/kernel/error.ts';
import { limits } from './limits.ts';
import { decompressZstd } from './zstd.ts';

/** Decompressed data comes in pieces of this size: large enough that the event loop's share is small. */
const CHUNK_BYTES = 256 * 1024;

const magics: [name: string, magic: Buffer][] = [
  ['gzip', Buffer.from([0x1f, 0x8b])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ['bzip2', Buffer.from('BZh')],
  ['lz4', Buffer.from([0x04, 0x22, 0x4d, 0x18])],
];

/** How many bytes detection looks at. */
export const MAGIC_BYTES = 6;

export function detectCompression(start: Buffer): string | undefined {
  return magics.find(([, magic]) => start.subarray(0, magic.length).equals(magic))?.[0];
}

/** A step of a pipeline. */
type Decompressor = Transform | ((source: AsyncIterable<Buffer>) => AsyncIterable<Uint8Array>);

/** undefined for data that isn't compressed. Throws ContainerError for a compression that can't be taken off. */
export function makeDecompressor(start: Buffer): Decompressor | undefined {
  const name = detectCompression(start);
  if (name === undefined) return undefined;
  if (name === 'gzip') return zlib.createGunzip({ chunkSize: CHUNK_BYTES });
  if (name === 'zstd') return makeZstd();
  throw new ContainerError(`the archive is compressed with ${name}, which is not among gzip and zstd`, {
    hint: `decompress it on the way in: ${name} -dc FILE, piped into the same command with - instead of the file`,
  });
}

const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: object) => Transform };

/** Node has zstd since 22.15: some times faster than ours, in less memory. */
export const zstdByNode = createZstdDecompress !== undefined;

function makeZstd(): Decompressor {
  if (createZstdDecompress === undefined) return decompressZstd;
  const { ZSTD_d_windowLogMax } = zlib.constants as unknown as { ZSTD_d_windowLogMax: number };
  const params = { [ZSTD_d_windowLogMax]: Math.log2(limits.windowBytes) };
  return createZstdDecompress({ chunkSize: CHUNK_BYTES, params });
}
