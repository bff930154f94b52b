/**
 * The archives of layers, for whoever takes an image elsewhere: one that is in the store, whatever image it came with, or
 * one made of the layer's files. Host side.
 */
import { createReadStream, createWriteStream, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { ContainerError } from '../core/kernel/error.ts';
import { blobFile, hasBlob } from './blobs.ts';
import { READ_AHEAD } from './import.ts';
import { layerName, layersFolder } from './layout.ts';
import { type BlobRecord, type LayerRecord, listImages } from './records.ts';
import { archiveDirectory } from './tar/walk.ts';
import { Meter } from './unpack/layer.ts';
import type { Work } from './work.ts';

const GZIP_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const GZIP = { chunkSize: 256 * 1024 };

function isCompressed({ mediaType }: BlobRecord): boolean {
  return /[+.](gzip|zstd)$/.test(mediaType);
}

/** Hears of a layer that is being compressed: how many of its bytes are through. */
export type Watch = (diffId: string, bytes: number) => void;

/** The archives of layers that the store's images have: where to look for another one of the same layer. */
export function knownArchives(root: string): LayerRecord[] {
  return listImages(root).flatMap((image) => image.content);
}

/** An archive that is here as it came, kept by `work`; undefined when there is none. `wanted` says which will do. */
export function archiveHere(
  root: string,
  work: Work,
  layer: LayerRecord,
  known: readonly LayerRecord[],
  wanted: (blob: BlobRecord) => boolean = () => true,
): BlobRecord | undefined {
  const same = [layer, ...known.filter(({ diffId }) => diffId === layer.diffId)];
  const blobs = same.flatMap(({ blob }) => (blob && wanted(blob) ? [blob] : []));
  return blobs.find(({ digest }) => {
    work.keepBlobs([digest]); // before the look: what is kept and there, stays there
    return hasBlob(root, digest);
  });
}

/**
 * The archive as it is sent: compressed. One that came without compression, and one of a layer whose archive is gone, is
 * made now and kept by `work`. Throws ContainerError when it can't be had.
 */
export async function compressedArchive(
  root: string,
  work: Work,
  layer: LayerRecord,
  known: readonly LayerRecord[],
  watch: Watch,
): Promise<BlobRecord> {
  return archiveHere(root, work, layer, known, isCompressed) ?? (await compress(root, work, layer, watch));
}

async function compress(root: string, work: Work, layer: LayerRecord, watch: Watch): Promise<BlobRecord> {
  const { diffId, size } = layer;
  const path = work.path(`${layerName(diffId)}.gz`);
  const [plain, packed] = [new Meter(), new Meter()];
  const source = openPlain(root, layer);
  const target = createWriteStream(path, { mode: 0o600 });
  await pipeline(
    source,
    metered(plain, (bytes) => watch(diffId, bytes)),
    createGzip(GZIP),
    metered(packed),
    target,
  );
  if (plain.digest() !== diffId)
    throw new ContainerError(
      `the archive of the layer ${diffId} is not in the store any more, and one made of its files has another digest`,
      { hint: 'remove the image and pull, load or import it again' },
    );
  const blob = { digest: packed.digest(), size: packed.bytes, mediaType: GZIP_TYPE };
  work.publishArchive({ diffId, size }, { path, digest: blob.digest });
  return blob;
}

/** The archive as it came without compression, or else as the tree gives it. An open file stays when its name is removed. */
function openPlain(root: string, { diffId, blob }: LayerRecord): AsyncIterable<Buffer> {
  if (blob && !isCompressed(blob) && hasBlob(root, blob.digest))
    return createReadStream('', { ...READ_AHEAD, fd: openSync(blobFile(root, blob.digest), 'r') });
  const tree = join(layersFolder(root), layerName(diffId));
  if (!existsSync(tree)) throw new ContainerError(`the layer ${diffId} is not in the store any more`);
  return archiveDirectory(tree);
}

function metered(meter: Meter, watch: (bytes: number) => void = () => {}) {
  return async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      meter.add(chunk);
      watch(meter.bytes);
      yield chunk;
    }
  };
}
