/**
 * Images as `docker save` of every version reads them: layers without compression, manifest.json. Host side.
 * Source: moby's image/spec, v1.2 "Combined Image JSON + Filesystem Changeset Format".
 */
import { createReadStream } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import { blobFile } from './blobs.ts';
import { READ_AHEAD } from './import.ts';
import { archiveHere, knownArchives } from './layer-archive.ts';
import { hexOf } from './layout.ts';
import { type BlobRecord, type Image, type LayerRecord, readConfiguration } from './records.ts';
import { fullName, parseReference } from './reference.ts';
import { type SavedFile, smallFile, type WantedImage } from './save-output.ts';
import { makeSendable } from './sendable.ts';
import { decompress, decompressed } from './unpack/layer.ts';
import type { Work } from './work.ts';

/** Each layer once. Throws ContainerError for a layer that can't be had or is damaged. */
export async function dockerFiles(root: string, work: Work, images: readonly WantedImage[]): Promise<SavedFile[]> {
  const layers = new Map(images.flatMap(({ image }) => image.content.map((layer) => [layer.diffId, layer])));
  const files: SavedFile[] = [];
  for (const { image } of images) await completeArchives(root, work, image);
  const known = knownArchives(root);
  for (const layer of layers.values()) files.push(await layerFile(root, archiveHere(root, work, layer, known), layer));
  for (const { image } of images) files.push(smallFile(`${image.id}.json`, readConfiguration(root, image.id)));
  const manifest = images.map(({ image, tags }) => ({
    Config: `${image.id}.json`,
    RepoTags: tags.length > 0 ? tags.map((tag) => fullName(parseReference(tag))) : null,
    Layers: image.content.map(({ diffId }) => layerPath(diffId)),
  }));
  return [...files, smallFile('manifest.json', Buffer.from(JSON.stringify(manifest)))];
}

/** Where an archive is gone, all are made that a registry would get. */
async function completeArchives(root: string, work: Work, image: Image): Promise<void> {
  const known = knownArchives(root);
  const isComplete = image.content.every((layer) => archiveHere(root, work, layer, known));
  if (!isComplete) await makeSendable(root, work, image);
}

function layerPath(diffId: string): string {
  return `${hexOf(diffId)}.tar`;
}

/** Read twice: an archive names a file's size before its data, and nothing is written before everything is known to be good. */
async function layerFile(root: string, blob: BlobRecord | undefined, { diffId }: LayerRecord): Promise<SavedFile> {
  if (blob === undefined) throw new ContainerError(`the layer ${diffId} was removed while it was to be saved`);
  const damaged = (why: string) => new ContainerError(`the archive ${blob.digest} in the store is damaged: ${why}`);
  const open = () => createReadStream(blobFile(root, blob.digest), READ_AHEAD);
  const { plain } = await decompress(open(), () => {}).catch((error) => {
    throw error instanceof ContainerError ? damaged(error.message) : error;
  });
  if (plain.digest() !== diffId) throw damaged(`it holds ${plain.digest()}, where the layer ${diffId} belongs`);
  return { name: layerPath(diffId), size: plain.bytes, content: () => decompressed(open()) };
}
