/**
 * Unpacks a layer from a stream: compressed bytes are hashed, decompressed, hashed again, read as an archive and written,
 * all while they pass. Host side. Memory does not grow with the layer.
 */
import { createHash, type Hash } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ContainerError } from '../../core/kernel/error.ts';
import { detectCompression, MAGIC_BYTES, makeDecompressor } from '../compression.ts';
import { limits as defaultLimits, type Limits } from '../limits.ts';
import { Feed } from '../tar/feed.ts';
import { ArchiveError } from '../tar/header.ts';
import { readArchive } from '../tar/reader.ts';
import { TreeWriter } from './writer.ts';

/** Decompressed data that may wait while an earlier piece is being written. */
const BYTES_AHEAD = 512 * 1024;

export interface UnpackedLayer {
  /** Of the archive without compression: 'sha256:…', what an image's rootfs.diff_ids has. */
  diffId: string;
  /** Of the bytes as they came: what a manifest has. */
  blob: { digest: string; size: number };
  /** How it was compressed: gzip or zstd. */
  compression: string | undefined;
  /** Bytes of the files. */
  size: number;
}

/** Counts and hashes what passes. */
export class Meter {
  readonly #hash: Hash = createHash('sha256');
  #digest: string | undefined;
  bytes = 0;

  add(chunk: Buffer): void {
    this.#hash.update(chunk);
    this.bytes += chunk.length;
  }

  /** Ends the hash. */
  digest(): string {
    this.#digest ??= `sha256:${this.#hash.digest('hex')}`;
    return this.#digest;
  }
}

export function checkGrowth(compressed: number, unpacked: number, limits: Limits): void {
  if (unpacked > limits.unpackedBytes)
    throw new ContainerError(`the archive has more than ${limits.unpackedBytes} bytes`);
  if (unpacked > limits.ratioFreeBytes && unpacked > compressed * limits.ratio)
    throw new ContainerError(
      `the archive grows to more than ${limits.ratio} times its size (${compressed} bytes became ${unpacked} so far)`,
    );
}

/**
 * Calls `take` with the decompressed bytes of `source`, in order; awaits nothing else. What passes on each side of the
 * decompressor is metered. Throws ContainerError for damaged data, a foreign compression and limits.
 */
export async function decompress(
  source: AsyncIterable<Buffer>,
  take: (chunk: Buffer) => void,
  limits: Limits = defaultLimits,
): Promise<{ raw: Meter; plain: Meter; compression: string | undefined }> {
  const raw = new Meter();
  const metered = meter(source, raw);
  const start = await firstBytes(metered);
  const decompressor = makeDecompressor(start);
  const plain = decompressor ? new Meter() : raw;
  const takeOne = (chunk: Buffer, done: (error?: Error) => void) => {
    try {
      if (decompressor) plain.add(chunk);
      checkGrowth(raw.bytes, plain.bytes, limits);
      take(chunk);
      done();
    } catch (error) {
      done(error as Error);
    }
  };
  // Not at once, but after the decompressor's thread has been given its next piece: the two then work side by side.
  const write = (chunk: Buffer, _: unknown, done: (error?: Error) => void) => void setImmediate(takeOne, chunk, done);
  const sink = new Writable({ write, highWaterMark: BYTES_AHEAD });
  const whole = Readable.from(prepend(start, metered), { objectMode: false, highWaterMark: 1 });
  try {
    await (decompressor ? pipeline(whole, decompressor, sink) : pipeline(whole, sink));
  } catch (error) {
    throw damagedStream(error);
  }
  return { raw, plain, compression: detectCompression(start) };
}

/** The decompressed bytes of `source`, for who takes them at his own pace. Throws as decompress does, without its limits. */
export async function* decompressed(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const bytes = prepend(Buffer.alloc(0), source);
  const start = await firstBytes(bytes);
  const whole = prepend(start, bytes);
  const decompressor = makeDecompressor(start);
  if (decompressor === undefined) return yield* whole;
  if (typeof decompressor !== 'function')
    pipeline(Readable.from(whole, { objectMode: false, highWaterMark: 1 }), decompressor).catch(() => {}); // ends it, too
  try {
    for await (const chunk of typeof decompressor === 'function' ? decompressor(whole) : decompressor)
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  } catch (error) {
    throw damagedStream(error);
  }
}

async function* meter(source: AsyncIterable<Buffer>, raw: Meter): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    raw.add(chunk);
    yield chunk;
  }
}

async function firstBytes(source: AsyncGenerator<Buffer>): Promise<Buffer> {
  let start: Buffer = Buffer.alloc(0);
  while (start.length < MAGIC_BYTES) {
    const next = await source.next();
    if (next.done) return start;
    start = start.length === 0 ? next.value : Buffer.concat([start, next.value]);
  }
  return start;
}

async function* prepend(start: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  if (start.length > 0) yield start;
  yield* rest;
}

function damagedStream(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code === 'Z_BUF_ERROR') return new ContainerError('the archive is truncated: its compressed data ends too early');
  if (code.startsWith('Z_') || code.startsWith('ZSTD_'))
    return new ContainerError(`the archive's compressed data is damaged: ${(error as Error).message}`);
  return error;
}

/** Unpacks `source` into the empty directory `folder`, which only root can reach. Throws ContainerError. */
export async function unpackLayer(
  source: AsyncIterable<Buffer>,
  folder: string,
  limits: Limits = defaultLimits,
): Promise<UnpackedLayer> {
  const writer = new TreeWriter(folder);
  try {
    const feed = new Feed(readArchive(writer, limits));
    const { raw, plain, compression } = await decompress(source, (chunk) => feed.write(chunk), limits);
    feed.end();
    const blob = { digest: raw.digest(), size: raw.bytes };
    return { diffId: plain.digest(), blob, compression, size: writer.size };
  } catch (error) {
    throw error instanceof ArchiveError ? new ContainerError(error.message) : error;
  } finally {
    writer.close();
  }
}
