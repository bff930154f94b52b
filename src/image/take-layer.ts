/** A layer's archive from a stream into the store: its tree, and the archive itself as it came. Host side. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import { hasBlob, readFoundLayer } from './blobs.ts';
import { type BlobRecord, type LayerRecord, listImages } from './records.ts';
import { type UnpackedLayer, unpackLayer } from './unpack/layer.ts';
import type { Work } from './work.ts';

/** What somebody has promised about the archive, and who did. */
export interface Promised {
  /** How errors name the layer. */
  what: string;
  diffId: string;
  /** Of the archive as it comes, when a manifest describes it. */
  blob?: BlobRecord;
}

/**
 * A layer that the store has already, tree and archive, for another image or from a moment ago; kept by `work`, which the
 * caller has keep a promised archive. Whatever archive it came as will do when nothing was promised about that.
 */
export function knownLayer(root: string, work: Work, promised: Promised): LayerRecord | undefined {
  const { diffId, blob } = promised;
  if (!blob) return work.keep(diffId) ? anyArchive(root, work, diffId) : undefined;
  const found = readFoundLayer(root, blob.digest);
  return found?.diffId === diffId && work.keep(diffId) ? { diffId, size: found.size, blob } : undefined;
}

function anyArchive(root: string, work: Work, diffId: string): LayerRecord | undefined {
  const content = listImages(root).flatMap((image) => image.content);
  const layer = content.find((one) => one.diffId === diffId);
  if (layer?.blob) work.keepBlobs([layer.blob.digest]);
  return layer?.blob && hasBlob(root, layer.blob.digest) ? layer : undefined;
}

/** Both are kept by `work`. Throws ContainerError, publishing nothing, for an archive that isn't what was promised. */
export async function takeLayer(work: Work, source: AsyncIterable<Buffer>, promised?: Promised): Promise<LayerRecord> {
  const archive = work.newFile();
  const fd = openSync(archive, 'wx', 0o600);
  try {
    return await takeArchive(work, archive, promised, (tree) => unpackLayer(copied(source, fd), tree));
  } finally {
    closeSync(fd);
  }
}

/** The same for an archive that is the file `archive`, of the store's file system, when `unpack` has made a tree of it. */
export async function takeArchive(
  work: Work,
  archive: string,
  promised: Promised | undefined,
  unpack: (tree: string) => Promise<UnpackedLayer>,
): Promise<LayerRecord> {
  const tree = work.newTree();
  const { diffId, size, blob, compression } = await unpack(tree).catch((error) => {
    throw named(error, promised);
  });
  if (blob.size === 0) throw named(new ContainerError('there is nothing in it: the input is empty'), promised);
  checkPromise(promised, diffId, blob);
  const record = { mediaType: layerType(compression), ...blob, ...promised?.blob };
  work.publish(tree, { diffId, size }, { path: archive, digest: blob.digest });
  return { diffId, size, blob: record };
}

async function* copied(source: AsyncIterable<Buffer>, fd: number): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    for (let done = 0; done < chunk.length; ) done += writeSync(fd, chunk, done);
    yield chunk;
  }
}

/** Throws ContainerError. */
function checkPromise(promised: Promised | undefined, diffId: string, blob: { digest: string; size: number }): void {
  if (promised === undefined) return;
  const { what, blob: described } = promised;
  if (described && (blob.digest !== described.digest || blob.size !== described.size))
    throw damaged(what, 'manifest', described.digest, blob.digest);
  if (promised.diffId !== diffId) throw damaged(what, 'configuration', promised.diffId, diffId);
}

export function damaged(what: string, who: string, expected: string, actual: string): ContainerError {
  return new ContainerError(`${what} is damaged: its digest is ${actual}, where the ${who} says ${expected}`);
}

/** A registry's errors (a class of their own) name what they are about. */
function named(error: unknown, promised: Promised | undefined): unknown {
  if (promised === undefined || !(error instanceof ContainerError) || error.name !== 'ContainerError') return error;
  return new ContainerError(`${promised.what}: ${error.message}`, { hint: error.hint, cause: error.cause });
}

/** Source: OCI image-spec, layer.md. */
function layerType(compression: string | undefined): string {
  return `application/vnd.oci.image.layer.v1.tar${compression === undefined ? '' : `+${compression}`}`;
}
