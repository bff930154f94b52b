/**
 * One layer, from the registry into the store: the archive is written to its file as it arrives; another process reads it
 * there at the same time, hashes it as it came and without compression, and unpacks it. What an interrupted pull left is gone on with. Host side.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { ContainerError } from '../core/kernel/error.ts';
import type { Descriptor } from '../image/manifest.ts';
import type { LayerRecord } from '../image/records.ts';
import { damaged, knownLayer, type Promised, takeArchive } from '../image/take-layer.ts';
import type { UnpackedLayer } from '../image/unpack/layer.ts';
import type { Work } from '../image/work.ts';
import type { Repository } from '../registry/client.ts';
import { RegistryError } from '../registry/failure.ts';
import { ArchiveFile } from './archive-file.ts';
import type { LayerProgress } from './progress.ts';
import type { Unpackers } from './unpackers.ts';

export interface LayerRequest {
  root: string;
  /** Keeps the blob already, before it is there. */
  work: Work;
  repository: Repository;
  unpackers: Unpackers;
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
  const { work, blob, promised, signal } = request;
  const wasEmpty = file.length === 0;
  if (file.length > blob.size) {
    file.discard();
    return undefined;
  }
  try {
    return await takeArchive(work, file.path, promised, (tree) => fetchAndUnpack(request, file, tree));
  } catch (error) {
    if (signal.aborted || !isItsFault(error)) throw error;
    // Damaged on the way, or made like this? Only the digest of the whole can tell.
    const digest = await digestOfFile(file, signal);
    // A whole blob with the right digest is another image's, whatever this one says of it.
    if (!file.isWhole || digest !== blob.digest) file.discard();
    if (digest === blob.digest) throw error;
    if (wasEmpty) throw damaged(promised.what, 'manifest', blob.digest, digest);
    return undefined;
  }
}

/** Where unpacking fails by the archive's fault, the rest comes all the same: its digest decides what is said. */
async function fetchAndUnpack(request: LayerRequest, file: ArchiveFile, tree: string): Promise<UnpackedLayer> {
  const { blob, progress, signal, unpackers } = request;
  const passed = (bytes: number) => {
    if (progress.state !== 'downloading') progress.passed(bytes);
  };
  const unpacking = unpackers.unpack(file.path, tree, blob.size, file.length, passed);
  let failure: unknown;
  unpacking.result.catch((error: unknown) => {
    failure = error;
  });
  if (file.length < blob.size)
    for await (const length of arriving(request, file)) {
      if (failure !== undefined && !isItsFault(failure)) throw failure;
      unpacking.arrived(length);
      progress.set('downloading', length);
    }
  progress.set(file.isWhole ? 'verifying' : 'unpacking', 0);
  return await Promise.race([unpacking.result, aborted(signal)]);
}

/** Writes what comes into the file. Yields its length, again and again. */
async function* arriving({ repository, blob, progress }: LayerRequest, file: ArchiveFile): AsyncGenerator<number> {
  progress.set('downloading', file.length);
  const { stream, start } = await repository.blob(blob.digest, blob.size, file.length);
  let skip = file.length - start;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const rest = chunk.subarray(skip);
      skip -= chunk.length - rest.length;
      file.append(rest);
      yield file.length;
    }
  } finally {
    stream.destroy();
  }
}

async function aborted(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort');
  throw signal.reason;
}

async function digestOfFile(file: ArchiveFile, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for (const chunk of file.read()) {
    hash.update(chunk);
    await new Promise(setImmediate); // Ctrl-C is heard
    signal.throwIfAborted();
  }
  return `sha256:${hash.digest('hex')}`;
}

/** Of this machine, not of the archive: then what has arrived is as good as before. */
const HOST_ERRNOS = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'ENOMEM', 'EMFILE', 'ENFILE', 'ECHILD'];

function isItsFault(error: unknown): boolean {
  if (error instanceof RegistryError || !(error instanceof ContainerError)) return false;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (HOST_ERRNOS.includes((cause as NodeJS.ErrnoException).code ?? '')) return false;
  return true;
}
