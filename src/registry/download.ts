/** A blob's bytes as they arrive; where the connection breaks, the rest is asked for. Host side. */
import { Readable } from 'node:stream';
import { headerOf } from './document.ts';
import { RegistryError } from './failure.ts';
import { waitBefore } from './retry.ts';
import type { RegistrySettings } from './settings.ts';
import type { Answer } from './transport.ts';
import { explainConnection } from './unreachable.ts';

export interface Part {
  answer: Answer;
  /** The offset of the answer's first byte in the blob. */
  start: number;
}

export interface Download {
  /** For errors: "sha256:… from docker.io". */
  what: string;
  /** Of the whole blob, where it is known. */
  size: number | undefined;
  /** Asks for the bytes from an offset on. */
  open(from: number): Promise<Part>;
}

/** So much has to arrive between two failures for the first to be forgotten. */
const PROGRESS_BYTES = 1024 * 1024;

/** Which bytes of the blob an answer to a Range request has. Throws RegistryError when that contradicts `size`. */
export function readRange(answer: Answer, from: number, { what, size }: Omit<Download, 'open'>): number {
  const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headerOf(answer, 'content-range') ?? '');
  const start = answer.status === 206 ? Number(range?.[1] ?? Number.NaN) : 0;
  const length = headerOf(answer, 'content-length');
  const total = length === undefined ? undefined : start + Number(length);
  const fault = (why: string) => {
    answer.body.destroy();
    return new RegistryError(`${what}: ${why}`);
  };
  if (answer.status === 206 && start !== from) throw fault(`other bytes came than those from ${from} on`);
  if (size !== undefined && total !== undefined && total !== size)
    throw fault(`it has ${total} bytes there, and should have ${size}`);
  return start;
}

/** Ends with an error when attempts don't help, or with more bytes than `size`. Destroying it ends the request. */
export function readBlob(first: Part, download: Download, settings: RegistrySettings, signal?: AbortSignal): Readable {
  const reader = { part: first };
  const stream = Readable.from(bytesOf(reader, download, settings, signal), { objectMode: false });
  stream.once('close', () => reader.part.answer.body.destroy());
  return stream;
}

async function* bytesOf(
  reader: { part: Part },
  { what, size, open }: Download,
  settings: RegistrySettings,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let position = reader.part.start;
  let failures = 0;
  for (let progress = position; ; ) {
    let skip = position - reader.part.start;
    try {
      for await (const chunk of chunksOf(reader.part.answer, signal)) {
        const rest = chunk.subarray(skip);
        skip -= chunk.length - rest.length;
        position += rest.length;
        if (size !== undefined && position > size)
          throw new RegistryError(`${what}: more than the ${size} bytes that it should have`);
        if (rest.length > 0) yield rest;
      }
      if (size === undefined || position === size) return;
      throw new RegistryError(`${what}: it ended after ${position} of ${size} bytes`, { transient: true });
    } catch (error) {
      failures = position - progress >= PROGRESS_BYTES ? 1 : failures + 1;
      progress = position;
      await waitBefore(error, failures, settings, signal);
      reader.part = await open(position);
    }
  }
}

async function* chunksOf({ body, url }: Answer, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  const chunks = (body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await chunks.next().catch((error: unknown) => {
        throw signal?.aborted ? signal.reason : explainConnection(error, url, undefined);
      });
      if (done) return;
      yield value;
    }
  } finally {
    body.destroy();
  }
}
