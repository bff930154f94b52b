/** One layer's archive to a registry, by the shortest way: it is there, it is in another repository, or it is uploaded. Host side. */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { ContainerError } from '../core/kernel/error.ts';
import { blobFile } from '../image/blobs.ts';
import { READ_AHEAD } from '../image/import.ts';
import type { BlobRecord } from '../image/records.ts';
import { Meter } from '../image/unpack/layer.ts';
import type { LayerProgress } from '../pull/progress.ts';
import type { Repository } from '../registry/client.ts';
import { RegistryError } from '../registry/failure.ts';

export interface LayerUpload {
  root: string;
  repository: Repository;
  blob: BlobRecord;
  /** Repositories of the same registry that may have it. */
  sources: readonly string[];
  progress: LayerProgress;
}

/** Throws ContainerError. */
export async function pushLayer({ root, repository, blob, sources, progress }: LayerUpload): Promise<void> {
  progress.resize(blob.size);
  progress.set('preparing', 0);
  if (await repository.hasBlob(blob.digest)) return progress.set('present');
  for (const source of sources)
    if (await mounted(repository, blob.digest, source)) return progress.set('mounted', 0, source);
  const open = () => Readable.from(reading(root, blob, progress), { objectMode: false });
  try {
    await repository.pushBlob(blob.digest, blob.size, open);
  } catch (error) {
    await checkArchive(root, blob);
    throw error;
  }
  progress.set('pushed');
}

/** Who may not read the other repository can still write to this one. */
async function mounted(repository: Repository, digest: string, source: string): Promise<boolean> {
  try {
    return await repository.mountBlob(digest, source);
  } catch (error) {
    if (error instanceof RegistryError && error.status !== undefined && error.status < 500) return false;
    throw error;
  }
}

async function* reading(root: string, { digest }: BlobRecord, progress: LayerProgress): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of createReadStream(blobFile(root, digest), READ_AHEAD)) {
    yield chunk;
    bytes += chunk.length;
    progress.set('pushing', bytes);
  }
}

/** A registry that refuses an archive may be right: then the fault is here. */
async function checkArchive(root: string, { digest, size }: BlobRecord): Promise<void> {
  const meter = new Meter();
  for await (const chunk of createReadStream(blobFile(root, digest), READ_AHEAD)) meter.add(chunk);
  if (meter.bytes !== size || meter.digest() !== digest)
    throw new ContainerError(`the archive ${digest} in the store is damaged: its digest is ${meter.digest()}`, {
      hint: 'remove the image and pull, load or import it again',
    });
}
