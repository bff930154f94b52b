/**
 * Makes an image of layers that are in the store: configuration, record, names, in this order, so that whatever is
 * visible is complete. Host side.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { removeUnusedBlobs } from './blobs.ts';
import { readImageDocument } from './config.ts';
import { configsFolder, ensureStore, imageFile, layerName, nameFile, writeWhole } from './layout.ts';
import { withStoreLock } from './lock.ts';
import { type BlobRecord, findImage, type Image, type ImageRecord, type LayerRecord } from './records.ts';
import { familiarName, type Reference } from './reference.ts';
import { keptBlobs } from './work.ts';

/**
 * `configuration` is the document byte by byte; `content` its layers in order, `manifest` what it came by: all kept by the
 * caller's Work. An image that came by a manifest before stays what that manifest says.
 */
export function commitImage(
  root: string,
  configuration: Buffer,
  content: LayerRecord[],
  references: readonly Reference[],
  manifest?: BlobRecord,
): Image {
  ensureStore(root);
  const made = makeRecord(configuration, content, manifest);
  const old = manifest ? undefined : findImage(root, made.id);
  const record = old?.manifest ? { ...made, content: old.content, manifest: old.manifest } : made;
  withStoreLock(root, () => {
    writeWhole(join(configsFolder(root), record.id), configuration);
    writeWhole(imageFile(root, record.id), `${JSON.stringify(record, null, 2)}\n`);
    for (const reference of references) writeWhole(nameFile(root, reference), `sha256:${record.id}\n`);
  });
  return { ...record, names: references.map(familiarName) };
}

/**
 * Notes that the layers of an image have these archives now, kept by the caller's Work; what they replace goes with the last
 * image that has it. A manifest that spoke of other archives is no longer the image's. Nothing is done when the image was
 * removed or came anew meanwhile.
 */
export function recordArchives(root: string, image: Image, content: LayerRecord[]): void {
  withStoreLock(root, () => {
    const now = findImage(root, image.id);
    if (now === undefined || digests(now.content) !== digests(image.content)) return;
    if (digests(content) === digests(now.content)) return;
    const { names: _, manifest, ...record } = now;
    writeWhole(imageFile(root, image.id), `${JSON.stringify({ ...record, content }, null, 2)}\n`);
    const replaced = image.content.flatMap(({ blob }) => blob?.digest ?? []);
    removeUnusedBlobs(root, keptBlobs(root), manifest ? [manifest.digest, ...replaced] : replaced);
  });
}

/**
 * Notes the manifest, of these `layers`, by which a registry knows an image now, a blob of the caller's Work, and the name
 * that it has there by its digest. Nothing is done when the image was removed meanwhile.
 */
export function recordManifest(
  root: string,
  id: string,
  layers: readonly LayerRecord[],
  manifest: BlobRecord,
  reference: Reference,
): void {
  withStoreLock(root, () => {
    const image = findImage(root, id);
    if (image === undefined) return;
    const { names: _, ...record } = image;
    if (!record.manifest && digests(layers) === digests(record.content))
      writeWhole(imageFile(root, id), `${JSON.stringify({ ...record, manifest }, null, 2)}\n`);
    writeWhole(nameFile(root, reference), `sha256:${id}\n`);
  });
}

function digests(layers: readonly LayerRecord[]): string {
  return layers.map(({ blob }) => blob?.digest).join();
}

function makeRecord(configuration: Buffer, content: LayerRecord[], manifest: BlobRecord | undefined): ImageRecord {
  const { config, architecture, variant, os, created } = readImageDocument(configuration, "the image's configuration");
  const record: ImageRecord = {
    id: createHash('sha256').update(configuration).digest('hex'),
    architecture,
    os,
    created,
    size: content.reduce((sum, layer) => sum + layer.size, 0),
    config,
    layers: stackedOnce(content.map((layer) => layerName(layer.diffId))),
    content,
  };
  if (variant !== undefined) record.variant = variant;
  if (manifest) record.manifest = manifest;
  return record;
}

/**
 * Overlayfs refuses the same directory twice. The highest occurrence is enough: whatever the lower one would show, the
 * higher one shows or hides itself.
 */
export function stackedOnce(layers: readonly string[]): string[] {
  return layers.filter((layer, i) => layers.lastIndexOf(layer) === i);
}
