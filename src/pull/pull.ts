/**
 * `pull`: documents, layers, image. Whatever is visible in the store is complete: layers come one by one, the image with
 * its names when all are there. Host side.
 */
import { ContainerError } from '../core/kernel/error.ts';
import { writeDocumentBlob } from '../image/blobs.ts';
import { cleanStore } from '../image/clean.ts';
import { commitImage } from '../image/commit.ts';
import type { Descriptor } from '../image/manifest.ts';
import { hostPlatform, type Platform, platformName, rank } from '../image/platform.ts';
import { findImage, type Image, type LayerRecord } from '../image/records.ts';
import { familiarName, type Reference } from '../image/reference.ts';
import { withWork } from '../image/with-work.ts';
import type { Work } from '../image/work.ts';
import type { Repository } from '../registry/client.ts';
import { transfer } from '../registry/transfer.ts';
import { type ImageDocuments, readDocuments } from './documents.ts';
import { fetchLayer, type LayerRequest } from './fetch-layer.ts';
import type { LayerProgress, TransferProgress } from './progress.ts';
import { Unpackers } from './unpackers.ts';

/** Layers that are fetched and unpacked at the same time. */
const AT_ONCE = 4;

export interface PullRequest {
  root: string;
  reference: Reference;
  /** This machine's when it is left out. */
  platform: Platform | undefined;
  insecure: boolean;
  /** Ends the pull with its reason as the error. What has arrived stays for the next one. */
  signal: AbortSignal;
  progress: TransferProgress;
}

export interface Pulled {
  image: Image;
  /** What the name stands for at the registry: an index's or a manifest's. */
  digest: string;
  /** The name meant this image before. */
  isOld: boolean;
}

/** Throws ContainerError; then no name of the store has changed. */
export async function pullImage(request: PullRequest): Promise<Pulled> {
  const { root } = request;
  cleanStore(root); // what a pull that was killed had half unpacked
  return await transfer(request, (inner, repository, failure) =>
    withWork(root, (work) => pullWithin(inner, work, repository, failure), { blobs: 'stay' }),
  );
}

async function pullWithin(
  request: PullRequest,
  work: Work,
  repository: Repository,
  failure: AbortController,
): Promise<Pulled> {
  const { root, reference, platform, progress } = request;
  const documents = await readDocuments(root, repository, reference, platform ?? hostPlatform);
  checkPlatform(request, documents);
  const { digest, manifest, kept, layers, configuration } = documents;
  progress.begin(titleOf(reference));
  work.keepBlobs([digest, manifest.digest, ...layers.map((layer) => layer.digest)]);
  const unpackers = new Unpackers(
    work.lockFd,
    layers.map(({ mediaType }) => mediaType),
  );
  const content = await fetchAll(request, { work, repository, unpackers }, documents, failure).finally(() =>
    unpackers.close(),
  );
  for (const document of new Set([kept[0]!, kept.at(-1)!])) writeDocumentBlob(root, document);
  const { domain, path, tag } = reference;
  const references = [...(tag === undefined ? [] : [{ domain, path, tag }]), { domain, path, digest }];
  const before = findImage(root, familiarName(reference))?.id;
  const image = commitImage(root, configuration, content, references, manifest);
  return { image, digest, isOld: before === image.id };
}

/** Each layer once, also when the image has it twice. The first failure ends all, and is the error. */
async function fetchAll(
  request: PullRequest,
  parts: Pick<LayerRequest, 'work' | 'repository' | 'unpackers'>,
  { layers, image }: ImageDocuments,
  failure: AbortController,
): Promise<LayerRecord[]> {
  const { root, progress, signal } = request;
  const jobs = new Map<string, () => Promise<void>>();
  const records = new Map<string, LayerRecord>();
  const key = (blob: Descriptor, i: number) => `${blob.digest} ${image.diffIds[i]}`;
  for (const [i, blob] of layers.entries()) {
    if (jobs.has(key(blob, i))) continue;
    const layer = progress.layer(blob.digest, blob.size);
    const { digest, size, mediaType } = blob;
    const what = `layer ${layer.id} (${i + 1} of ${layers.length})`;
    const promised = { what, diffId: image.diffIds[i]!, blob: { digest, size, mediaType } };
    jobs.set(key(blob, i), async () => {
      const record = await fetchLayer({ ...parts, root, blob, promised, progress: layer, signal });
      finish(layer);
      records.set(key(blob, i), record);
    });
  }
  await inParallel([...jobs.values()], failure);
  return layers.map((blob, i) => records.get(key(blob, i))!);
}

function finish(layer: LayerProgress): void {
  layer.set(layer.state === 'waiting' && layer.bytes === 0 ? 'exists' : 'complete');
}

async function inParallel(jobs: readonly (() => Promise<void>)[], failure: AbortController): Promise<void> {
  const waiting = [...jobs];
  let first: { error: unknown } | undefined;
  const worker = async () => {
    for (let job = waiting.shift(); job !== undefined && first === undefined; job = waiting.shift())
      await job().catch((error: unknown) => {
        first ??= { error };
        failure.abort(error);
      });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker)); // all have let go of their files then
  if (first !== undefined) throw (first as { error: unknown }).error;
}

/** A manifest without an index says by its configuration what it is for. */
function checkPlatform({ platform, progress, reference }: PullRequest, { image }: ImageDocuments): void {
  if (rank(image, platform ?? hostPlatform) !== undefined) return;
  const name = familiarName(reference);
  if (image.os !== 'linux') throw new ContainerError(`${name} is for ${platformName(image)}: it can't run on Linux`);
  if (platform !== undefined)
    throw new ContainerError(
      `${name} is there only for ${platformName(image)}, and ${platformName(platform)} was asked for`,
    );
  progress.note(`${name} is for ${platformName(image)}, this machine is ${platformName(hostPlatform)}`);
}

/** As docker says it. */
function titleOf({ domain, path, tag, digest }: Reference): string {
  return `${tag ?? digest}: Pulling from ${domain === 'docker.io' ? path : `${domain}/${path}`}`;
}
