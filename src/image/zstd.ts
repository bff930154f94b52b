/**
 * zstd for Node 20, whose zlib has none: fzstd takes blocks off, one at a time, so that memory does not grow with what a few
 * bytes may claim. Host side. Source: RFC 8878, section 3.1. Checksums are not looked at: every archive has a digest.
 */
import { Decompress } from 'fzstd';
import { ContainerError } from '../core/kernel/error.ts';
import { limits } from './limits.ts';

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const MOST_BLOCK = 128 * 1024;
/** So many bytes fzstd wants to see before it begins; until then it keeps what it is given. */
const LEAST = 18;

/** Frame after frame; those for others are passed over. Throws ContainerError for damaged data and too large a window. */
export async function* decompressZstd(source: AsyncIterable<Buffer>): AsyncGenerator<Uint8Array> {
  const input = new Input(source);
  for (let start = await input.upTo(4); start.length > 0; start = await input.upTo(4)) {
    if (start.length < 4) throw truncated();
    const magic = start.readUInt32LE();
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) await input.skip((await input.exactly(4)).readUInt32LE());
    else if (magic === MAGIC) yield* decompressFrame(start, input);
    else throw damaged('it has something else after a frame');
  }
}

async function* decompressFrame(magic: Buffer, input: Input): AsyncGenerator<Uint8Array> {
  let out: Uint8Array[] = [];
  const decoder = new Decompress((chunk) => void out.push(chunk));
  const take = (bytes: Buffer, last: boolean) => {
    try {
      decoder.push(bytes, last);
    } catch (error) {
      throw damaged((error as Error).message);
    }
  };
  const { header, checksumBytes } = await readHeader(input);
  take(Buffer.concat([magic, header]), false);
  const whole = Buffer.alloc(3 + MOST_BLOCK + 4); // the decoder keeps nothing of a block, once it has begun
  let given = magic.length + header.length;
  for (let last = false; !last; ) {
    const block = await input.exactly(3);
    const [size, type] = [block.readUIntLE(0, 3) >> 3, (block[0]! >> 1) & 3];
    last = (block[0]! & 1) === 1;
    if (size > MOST_BLOCK) throw damaged(`a block of ${size} bytes`);
    const body = await input.exactly(type === 1 ? 1 : size); // type 1 is one byte, `size` times
    const checksum = last ? await input.exactly(checksumBytes) : Buffer.alloc(0);
    let length = 0;
    for (const part of [block, body, checksum]) length += part.copy(whole, length);
    const bytes = whole.subarray(0, length);
    take(given < LEAST ? Buffer.from(bytes) : bytes, last);
    given += length;
    for (const chunk of out) if (chunk.length > 0) yield chunk;
    out = [];
  }
}

/** What follows the magic number. Memory is taken for the window that is declared here. */
async function readHeader(input: Input): Promise<{ header: Buffer; checksumBytes: number }> {
  const descriptor = await input.exactly(1);
  const flags = descriptor[0]!;
  const single = (flags >> 5) & 1;
  const idBytes = [0, 1, 2, 4][flags & 3]!;
  const sizeBytes = [single, 2, 4, 8][flags >> 6]!;
  const window = await input.exactly(1 - single);
  const rest = await input.exactly(idBytes + sizeBytes);
  const content = rest.subarray(idBytes);
  if (rest.subarray(0, idBytes).some((byte) => byte !== 0)) throw damaged('it needs a dictionary');
  const bytes = single === 1 ? contentSize(content) : windowSize(window[0]!);
  if (bytes > limits.windowBytes)
    throw new ContainerError(
      `the archive is compressed by zstd with a window of ${bytes} bytes, where at most ${limits.windowBytes} are allowed`,
      { hint: 'zstd needs that much memory to take it off; compressed without --ultra or --long it needs less' },
    );
  return { header: Buffer.concat([descriptor, window, rest]), checksumBytes: (flags >> 2) & 1 ? 4 : 0 };
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

function contentSize(field: Buffer): number {
  if (field.length === 8) return Number(field.readBigUInt64LE());
  return field.readUIntLE(0, field.length) + (field.length === 2 ? 256 : 0);
}

/** The bytes of a stream in the pieces that are asked for. */
class Input {
  readonly #source: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Fewer only at the end. */
  async upTo(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let missing = bytes; missing > 0; ) {
      if (this.#chunk.length === 0) {
        const { value, done } = await this.#source.next();
        if (done) break;
        this.#chunk = value;
      }
      const part = this.#chunk.subarray(0, missing);
      this.#chunk = this.#chunk.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  async exactly(bytes: number): Promise<Buffer> {
    const found = await this.upTo(bytes);
    if (found.length < bytes) throw truncated();
    return found;
  }

  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; ) left -= (await this.exactly(Math.min(left, MOST_BLOCK))).length;
  }
}

function truncated(): ContainerError {
  return new ContainerError('the archive is truncated: its compressed data ends too early');
}

function damaged(why: string): ContainerError {
  return new ContainerError(`the archive's compressed data is damaged: ${why}`);
}
