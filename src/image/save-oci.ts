/** Images as an OCI layout. Host side. Source: OCI image-spec, image-layout.md, image-index.md, annotations.md. */
import { createReadStream } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import { blobFile, digestOf } from './blobs.ts';
import { READ_AHEAD } from './import.ts';
import { hexOf } from './layout.ts';
import type { BlobRecord } from './records.ts';
import { fullName, parseReference } from './reference.ts';
import { type SavedFile, smallFile, type WantedImage } from './save-output.ts';
import { makeSendable } from './sendable.ts';
import { Meter } from './unpack/layer.ts';
import type { Work } from './work.ts';

/** Each blob once, by the manifests that the images came by. Throws ContainerError for a layer that can't be had. */
export async function ociFiles(root: string, work: Work, images: readonly WantedImage[]): Promise<SavedFile[]> {
  const blobs = new Map<string, SavedFile>();
  const add = (digest: string, file: (name: string) => SavedFile) =>
    blobs.set(digest, file(`blobs/sha256/${hexOf(digest)}`));
  const manifests: object[] = [];
  for (const wanted of images) {
    const { configuration, layers, manifest } = await makeSendable(root, work, wanted.image);
    for (const { blob } of layers) add(blob.digest, (name) => storedFile(root, name, blob));
    add(digestOf(configuration), (name) => smallFile(name, configuration));
    add(manifest.blob.digest, (name) => smallFile(name, manifest.bytes));
    manifests.push(...indexEntries(wanted, manifest.blob));
  }
  const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests };
  return [
    smallFile('oci-layout', Buffer.from(JSON.stringify({ imageLayoutVersion: '1.0.0' }))),
    smallFile('index.json', Buffer.from(JSON.stringify(index))),
    ...blobs.values(),
  ];
}

/** One entry a name: podman and skopeo look for the first annotation, containerd and docker for the second. */
function indexEntries({ image, tags }: WantedImage, { mediaType, digest, size }: BlobRecord): object[] {
  const { architecture, os, variant } = image;
  const entry = { mediaType, digest, size, platform: { architecture, os, ...(variant !== undefined && { variant }) } };
  if (tags.length === 0) return [entry];
  return tags.map((familiar) => {
    const name = fullName(parseReference(familiar));
    const annotations = { 'org.opencontainers.image.ref.name': name, 'io.containerd.image.name': name };
    return { ...entry, annotations };
  });
}

/** Verified while it is read. */
function storedFile(root: string, name: string, { digest, size }: BlobRecord): SavedFile {
  const content = async function* () {
    const meter = new Meter();
    for await (const chunk of createReadStream(blobFile(root, digest), READ_AHEAD)) {
      meter.add(chunk);
      yield chunk;
    }
    if (meter.bytes !== size || meter.digest() !== digest)
      throw new ContainerError(`the archive ${digest} in the store is damaged: its digest is ${meter.digest()}`);
  };
  return { name, size, content };
}
