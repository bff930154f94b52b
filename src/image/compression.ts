/** Which compression a stream has, by its first bytes, and the transform that takes it off. Host side. */
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import { ContainerError } from '../core/kernel/error.ts';

/** Decompressed data comes in pieces of this size: large enough that the event loop's share is small. */
const CHUNK_BYTES = 512 * 1024;

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

/** undefined for data that isn't compressed. Throws ContainerError for a compression that this Node can't take off. */
export function makeDecompressor(start: Buffer): Transform | undefined {
  const name = detectCompression(start);
  if (name === undefined) return undefined;
  if (name === 'gzip') return zlib.createGunzip({ chunkSize: CHUNK_BYTES });
  const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: object) => Transform };
  if (name === 'zstd' && createZstdDecompress) return createZstdDecompress({ chunkSize: CHUNK_BYTES });
  const why = name === 'zstd' ? `needs Node 22.15 or later, this is ${process.version}` : 'is not among gzip and zstd';
  throw new ContainerError(`the archive is compressed with ${name}, which ${why}`, {
    hint: `decompress it on the way in: ${name} -dc FILE, piped into the same command with - instead of the file`,
  });
}
