/**
 * One layer, from the registry into the store: the archive is written to its file as it arrives and unpacked at the same
 * time, hashed on the way as it came and without compression. What an interrupted pull left is gone on with. Host side.
 */
import { createHash } from 'node:crypto';
import { ContainerError } from '../core/kernel/error.ts';
import type { Descriptor } from '../image/manifest.ts';
import type { LayerRecord } from '../image/records.ts';
import { damaged, knownLayer, type Promised, takeArchive } from '../image/take-layer.ts';
import type { Work } from '../image/work.ts';
import type { Repository } from '../registry/client.ts';
import { RegistryError } from '../registry/failure.ts';
import { ArchiveFile } from './archive-file.ts';
import type { LayerProgress } from './progress.ts';

export interface LayerRequest {
  root: string;
  /** Keeps the blob already, before it is there. */
  work: Work;
  repository: Repository;
  blob: Descriptor;
  promised: Promised;
  progress: LayerProgress;
  signal: AbortSignal;
}

/** Kept by the request's Work. Throws ContainerError; what has arrived stays for the next pull, unless it is no good. */
export async function fetchLayer(request: LayerRequest): Promise<LayerRecord> {
  const { root, work, blob, promised, progress, signal } = request;
  const known = () => knownLayer(root, work, promised);
  for (;;) {
    const file = await ArchiveFile.open(root, blob.digest, known, () => progress.set('waiting'), signal);
    if (!(file instanceof ArchiveFile)) return file;
    try {
      const layer = await takeFile(request, file);
      if (layer !== undefined) return layer;
    } finally {
      file.close();
    }
  }
}

/** undefined when the file was of no good from the beginning, from whenever it was: it is gone then. */
async function takeFile(request: LayerRequest, file: ArchiveFile): Promise<LayerRecord | undefined> {
  const { work, blob, promised, progress, signal } = request;
  const wasEmpty = file.length === 0;
  if (file.length > blob.size) {
    file.discard();
    return undefined;
  }
  try {
    return await takeArchive(work, passing(arriving(request, file), progress), file.path, promised);
  } catch (error) {
    if (signal.aborted || !isItsFault(error)) throw error;
    // Damaged on the way, or made like this? Only the digest of the whole can tell.
    for await (const _ of arriving(request, file, file.length)) signal.throwIfAborted();
    const digest = await digestOfFile(file, signal);
    file.discard();
    if (digest === blob.digest) throw error;
    if (wasEmpty) throw damaged(promised.what, 'manifest', blob.digest, digest);
    return undefined;
  }
}

/** The bytes that are there from `from` on, then those that come: each is in the file before it is handed on. */
async function* arriving(request: LayerRequest, file: ArchiveFile, from = 0): AsyncGenerator<Buffer> {
  const { repository, blob, signal, progress } = request;
  if (from < file.length) progress.set('verifying', 0);
  for (const chunk of file.read(from)) {
    signal.throwIfAborted();
    yield chunk;
  }
  if (file.length === blob.size) return;
  progress.set('downloading', file.length);
  const { stream, start } = await repository.blob(blob.digest, blob.size, file.length);
  let skip = file.length - start;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const rest = chunk.subarray(skip);
      skip -= chunk.length - rest.length;
      if (rest.length === 0) continue;
      file.append(rest);
      yield rest;
    }
  } finally {
    stream.destroy();
  }
}

async function* passing(source: AsyncIterable<Buffer>, progress: LayerProgress) {
  let bytes = 0;
  for await (const chunk of source) {
    yield chunk;
    bytes += chunk.length;
    progress.passed(bytes);
  }
  progress.set('unpacking', bytes);
}

async function digestOfFile(file: ArchiveFile, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for (const chunk of file.read(0)) {
    hash.update(chunk);
    await new Promise(setImmediate); // Ctrl-C is heard
    signal.throwIfAborted();
  }
  return `sha256:${hash.digest('hex')}`;
}

/** Of this machine, not of the archive: then what has arrived is as good as before. */
const HOST_ERRNOS = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'ENOMEM', 'EMFILE', 'ENFILE'];

function isItsFault(error: unknown): boolean {
  if (error instanceof RegistryError || !(error instanceof ContainerError)) return false;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (HOST_ERRNOS.includes((cause as NodeJS.ErrnoException).code ?? '')) return false;
  return true;
}
