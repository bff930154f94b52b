/**
 * `push`: archives of layers side by side, the configuration, and at last the manifest, so that the registry never has a
 * name for something incomplete. Host side. Source: OCI distribution-spec 1.1, "Push".
 */
import { Readable } from 'node:stream';
import { ContainerError } from '../core/kernel/error.ts';
import { digestOf, writeDocumentBlob } from '../image/blobs.ts';
import { cleanStore } from '../image/clean.ts';
import { recordManifest } from '../image/commit.ts';
import { needImage } from '../image/need.ts';
import { inParallel } from '../image/parallel.ts';
import { type BlobRecord, type Image, listNames } from '../image/records.ts';
import { familiarName, type Reference } from '../image/reference.ts';
import { makeSendable, type SendableImage } from '../image/sendable.ts';
import { withWork } from '../image/with-work.ts';
import type { Work } from '../image/work.ts';
import type { LayerProgress, TransferProgress } from '../pull/progress.ts';
import type { Repository } from '../registry/client.ts';
import { transfer } from '../registry/transfer.ts';
import { mountSources } from './mount-sources.ts';
import { pushLayer } from './push-layer.ts';

/** Layers that are asked for and uploaded at the same time. */
const AT_ONCE = 4;

export interface PushRequest {
  root: string;
  /** With a tag. */
  reference: Reference;
  insecure: boolean;
  /** Ends the push with its reason as the error. */
  signal: AbortSignal;
  progress: TransferProgress;
}

/** Returns the manifest as the registry has it now. Throws ContainerError; then no name of the registry has changed. */
export async function pushImage(request: PushRequest): Promise<BlobRecord> {
  const { root, reference } = request;
  cleanStore(root);
  const image = await namedImage(root, reference);
  return await transfer(request, (inner, repository, failure) =>
    withWork(root, (work) => pushWithin(inner, work, repository, image, failure), { images: [image] }),
  );
}

/** The tags of a repository that the store has, in alphabetical order. */
export function tagsOf(root: string, { domain, path }: Reference): Reference[] {
  const names = listNames(root).map(({ reference }) => reference);
  return names.filter((name) => name.domain === domain && name.path === path && name.tag !== undefined);
}

async function namedImage(root: string, reference: Reference): Promise<Image> {
  const name = familiarName(reference);
  const image = await needImage(root, name).catch((error) => {
    if (!(error instanceof ContainerError) || error.exitCode !== 1) throw error;
    throw new ContainerError(`An image does not exist locally with the tag: ${name}`, {
      exitCode: 1,
      hint: `give the image that name first: tinyctr tag IMAGE ${name}`,
    });
  });
  return image;
}

async function pushWithin(
  request: PushRequest,
  work: Work,
  repository: Repository,
  image: Image,
  failure: AbortController,
): Promise<BlobRecord> {
  const { root, reference, progress, signal } = request;
  const { domain, path, tag } = reference;
  progress.begin(`The push refers to repository [${domain}/${path}]`);
  const shown = new Map<string, LayerProgress>();
  for (const { diffId, size, blob } of image.content)
    if (!shown.has(diffId)) shown.set(diffId, progress.layer(diffId, blob?.size ?? size));
  const sendable = await makeSendable(root, work, image, (diffId, bytes) => {
    signal.throwIfAborted();
    shown.get(diffId)!.set('compressing', bytes);
  });
  const layers = new Map(sendable.layers.map(({ diffId, blob }) => [blob.digest, { diffId, blob }]));
  await inParallel([...layers.values()], AT_ONCE, async ({ diffId, blob }) => {
    const sources = mountSources(root, blob.digest, reference);
    await pushLayer({ root, repository, blob, sources, progress: shown.get(diffId)! }).catch((error) => {
      failure.abort(error);
      throw error;
    });
  });
  await pushDocuments(repository, tag!, sendable);
  const { bytes, blob } = sendable.manifest;
  work.keepBlobs([blob.digest]);
  writeDocumentBlob(root, bytes);
  recordManifest(root, image.id, sendable.layers, blob, { domain, path, digest: blob.digest });
  return blob;
}

async function pushDocuments(repository: Repository, tag: string, sendable: SendableImage): Promise<void> {
  const { configuration, manifest } = sendable;
  const digest = digestOf(configuration);
  if (!(await repository.hasBlob(digest)))
    await repository.pushBlob(digest, configuration.length, () => Readable.from([configuration]));
  await repository.pushManifest(tag, manifest.blob.mediaType, manifest.bytes);
}
