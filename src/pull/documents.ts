/**
 * From a reference to an image's documents: the index if there is one, the manifest for the platform, the configuration.
 * Host side. What the store has already is not asked for again; everything else is verified against its digest.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ContainerError } from '../core/kernel/error.ts';
import { digestOf, readDocumentBlob } from '../image/blobs.ts';
import { type ImageDocument, readImageDocument } from '../image/config.ts';
import { configsFolder, hexOf } from '../image/layout.ts';
import {
  checkDocumentType,
  chooseManifest,
  type Descriptor,
  MOST_NESTED,
  readIndex,
  readManifest,
} from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import type { BlobRecord } from '../image/records.ts';
import type { Reference } from '../image/reference.ts';
import type { Repository } from '../registry/client.ts';

export interface ImageDocuments {
  /** What the name stands for: an index's or a manifest's. */
  digest: string;
  manifest: BlobRecord;
  layers: Descriptor[];
  configuration: Buffer;
  /** The configuration's content. */
  image: ImageDocument;
  /** Indexes and the manifest on the way, byte by byte: what the store keeps. */
  kept: Buffer[];
}

/** Throws ContainerError: nothing for the platform, no image, something damaged, or whatever the registry says. */
export async function readDocuments(
  root: string,
  repository: Repository,
  reference: Reference,
  platform: Platform,
): Promise<ImageDocuments> {
  const top = await readTop(root, repository, reference);
  const found = await findManifest(root, repository, platform, top, []);
  const where = `the manifest ${found.manifest.digest}`;
  const { config, layers } = readManifest(found.kept.at(-1)!, where);
  const configuration = await readConfiguration(root, repository, config);
  const image = readImageDocument(configuration, `the configuration ${config.digest}`);
  checkLayerCount(where, layers, image.diffIds);
  return { digest: top.digest, ...found, layers, configuration, image };
}

interface Document {
  mediaType: string;
  digest: string;
  bytes: Buffer;
}

/** A tag is asked for each time; what a digest means can't change. */
async function readTop(root: string, repository: Repository, reference: Reference): Promise<Document> {
  const { digest, tag } = reference;
  if (digest === undefined) return await repository.manifest(tag!);
  const bytes = readDocumentBlob(root, digest);
  return bytes === undefined ? await repository.manifest(digest) : { mediaType: mediaTypeOf(bytes), digest, bytes };
}

/** Of a document of ours, which was an index or a manifest when it was kept. OCI documents need not say their type. */
function mediaTypeOf(bytes: Buffer): string {
  const document = JSON.parse(bytes.toString('utf8')) as { mediaType?: string; manifests?: unknown };
  return document.mediaType ?? `application/vnd.oci.image.${document.manifests ? 'index' : 'manifest'}.v1+json`;
}

async function findManifest(
  root: string,
  repository: Repository,
  platform: Platform,
  { mediaType, digest, bytes }: Document,
  above: Buffer[],
): Promise<Pick<ImageDocuments, 'manifest' | 'kept'>> {
  const kind = checkDocumentType(mediaType, digest);
  if (above.length > MOST_NESTED) throw new ContainerError(`more than ${MOST_NESTED} indexes lie within each other`);
  const kept = [...above, bytes];
  if (kind === 'manifest') return { manifest: { digest, size: bytes.length, mediaType }, kept };
  const chosen = chooseManifest(readIndex(bytes, digest), platform);
  const known = readDocumentBlob(root, chosen.digest);
  const next = known ?? (await repository.manifest(chosen.digest)).bytes;
  if (next.length !== chosen.size)
    throw new ContainerError(`${chosen.digest} has ${next.length} bytes, where the index says ${chosen.size}`);
  return await findManifest(root, repository, platform, { ...chosen, bytes: next }, kept);
}

async function readConfiguration(root: string, repository: Repository, { digest, size }: Descriptor): Promise<Buffer> {
  const known = readKnownConfiguration(root, digest);
  if (known !== undefined) return known;
  const { stream } = await repository.blob(digest, size, 0);
  const bytes = Buffer.concat(await stream.toArray()); // the stream ends after `size` bytes, which readManifest has limited
  if (digestOf(bytes) === digest) return bytes;
  throw new ContainerError(`the configuration ${digest} is damaged: its digest is ${digestOf(bytes)}`);
}

function readKnownConfiguration(root: string, digest: string): Buffer | undefined {
  try {
    const bytes = readFileSync(join(configsFolder(root), hexOf(digest)));
    return digestOf(bytes) === digest ? bytes : undefined;
  } catch {
    return undefined; // not there: it is fetched
  }
}

function checkLayerCount(where: string, layers: readonly Descriptor[], diffIds: readonly string[]): void {
  if (layers.length !== diffIds.length)
    throw new ContainerError(`${where} has ${layers.length} layers, but its configuration ${diffIds.length}`);
}
