/**
 * Blobs as a registry knows them, byte by byte as they came: archives of layers, manifests, indexes. Host side.
 *
 *     blobs/sha256/<64 hex>            whole and verified: the SHA-256 is the name
 *     blobs/sha256/<64 hex>.partial    being fetched by whoever holds its lock (flock), or left for the next one to go on
 *     blobs/sha256/<64 hex>.layer      for a layer's archive that was unpacked once: what was found in it, as JSON
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { blobsFolder, ensureStore, hexOf, readdirIfThere, readIfThere, writeWhole } from './layout.ts';
import { limits } from './limits.ts';
import { tryLock, withStoreLock } from './lock.ts';
import { type ImageRecord, listImages, listNames, type NamedImage } from './records.ts';

const PARTIAL = '.partial';
const LAYER = '.layer';

export function blobFile(root: string, digest: string): string {
  return join(blobsFolder(root), hexOf(digest));
}

export function partialFile(root: string, digest: string): string {
  return blobFile(root, digest) + PARTIAL;
}

export function hasBlob(root: string, digest: string): boolean {
  return existsSync(blobFile(root, digest));
}

/** The bytes of a manifest or index. undefined where the store has none, or something that isn't what its name says. */
export function readDocumentBlob(root: string, digest: string): Buffer | undefined {
  const path = blobFile(root, digest);
  if (!existsSync(path) || statSync(path).size > limits.documentBytes) return undefined;
  const bytes = readFileSync(path);
  return digestOf(bytes) === digest ? bytes : undefined;
}

/** Keeps a small document. Returns its digest. Call it while a Work keeps that digest. */
export function writeDocumentBlob(root: string, bytes: Buffer): string {
  ensureStore(root);
  const digest = digestOf(bytes);
  if (!hasBlob(root, digest)) withStoreLock(root, () => writeWhole(blobFile(root, digest), bytes));
  return digest;
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** What was found in a layer's archive when it was unpacked. */
export interface FoundLayer {
  diffId: string;
  /** Bytes of the files in it. */
  size: number;
}

/** undefined when nobody has unpacked this blob yet. */
export function readFoundLayer(root: string, digest: string): FoundLayer | undefined {
  const text = hasBlob(root, digest) ? readIfThere(blobFile(root, digest) + LAYER) : undefined;
  return text === undefined ? undefined : (JSON.parse(text) as FoundLayer);
}

/** Call it with the store's lock. */
export function writeFoundLayer(root: string, digest: string, found: FoundLayer): void {
  writeWhole(blobFile(root, digest) + LAYER, `${JSON.stringify({ diffId: found.diffId, size: found.size })}\n`);
}

/** The blobs of an image as digests: its manifest, its layers' archives, the indexes or manifests that its names mean. */
export function blobsOfImage(image: ImageRecord, names: readonly NamedImage[]): string[] {
  const named = names.flatMap(({ id, reference }) => (id === image.id ? (reference.digest ?? []) : []));
  const layers = image.content.flatMap(({ blob }) => blob?.digest ?? []);
  return [...(image.manifest ? [image.manifest.digest] : []), ...named, ...layers];
}

/**
 * Removes those of the `candidates` (digests; all without) that neither an image nor a process at work needs (`kept`);
 * what is being fetched stays. Call it with the store's lock. Returns the digests of what was removed.
 */
export function removeUnusedBlobs(root: string, kept: readonly string[], candidates?: readonly string[]): string[] {
  const removed = new Set<string>();
  for (const file of unusedBlobs(root, kept, candidates)) {
    unlinkSync(join(blobsFolder(root), file));
    if (!isStray(file)) removed.add(digestOfFile(file));
  }
  return [...removed];
}

/** The names of the files that removeUnusedBlobs would remove. */
export function unusedBlobs(root: string, kept: readonly string[], candidates?: readonly string[]): string[] {
  const names = listNames(root);
  const needed = new Set([...kept, ...listImages(root).flatMap((image) => blobsOfImage(image, names))]);
  return readdirIfThere(blobsFolder(root)).filter((file) => {
    const digest = digestOfFile(file);
    if (!isStray(file) && (needed.has(digest) || candidates?.includes(digest) === false)) return false;
    return !(file.endsWith(PARTIAL) && isBeingWritten(join(blobsFolder(root), file)));
  });
}

const digestOfFile = (file: string): string => `sha256:${file.slice(0, 64)}`;
/** Its writer died with the lock in his hand. */
const isStray = (file: string): boolean => file.startsWith('.');

function isBeingWritten(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    return !tryLock(fd);
  } finally {
    closeSync(fd);
  }
}
