/**
 * Images saved as an OCI layout (skopeo, podman, buildx, docker since 25): index.json leads to manifests, these to
 * configurations and layers, each named by its digest and checked against it. Host side.
 * Source: OCI image-spec, image-layout.md.
 */
import { createHash } from 'node:crypto';
import { ContainerError } from '../core/kernel/error.ts';
import { asObject, parseJson } from './config.ts';
import {
  checkDocumentType,
  chooseManifest,
  type Descriptor,
  MOST_NESTED,
  nothingFor,
  readIndex,
  readManifest,
} from './manifest.ts';
import { hostPlatform, runsHere } from './platform.ts';
import type { BlobRecord } from './records.ts';
import { parseReference, type Reference } from './reference.ts';
import type { SavedFiles } from './saved-files.ts';

/** An image that is about to be loaded, whatever it was saved as. */
export interface SavedImage {
  configuration: Buffer;
  /** Lowest first. With a descriptor where the manifest has one. */
  layers: { file: string; blob?: BlobRecord }[];
  references: Reference[];
  /** Indexes and the manifest on the way to the image, byte by byte, to be kept. */
  documents: Buffer[];
  manifest?: BlobRecord;
}

/** All images of the layout that run here. Throws ContainerError when none does, or when something is damaged. */
export function readOciLayout(files: SavedFiles): SavedImage[] {
  const version = asObject(parseJson(files.read('oci-layout'), 'oci-layout'), 'oci-layout', 'the document');
  if (version.imageLayoutVersion !== '1.0.0')
    throw new ContainerError(`the OCI layout has version ${JSON.stringify(version.imageLayoutVersion)}, not "1.0.0"`);
  const top = readIndex(files.read('index.json'), 'index.json');
  const here = top.filter((one) => one.platform === undefined || runsHere(one.platform));
  if (here.length === 0) throw nothingFor(hostPlatform, top);
  return here.map((one) => readSavedImage(files, one, one, []));
}

/** Goes from indexes down to the manifest for this platform; `above` are the documents on the way. */
function readSavedImage(files: SavedFiles, top: Descriptor, descriptor: Descriptor, above: Buffer[]): SavedImage {
  const { digest, size, mediaType } = descriptor;
  const kind = checkDocumentType(mediaType, digest);
  if (above.length > MOST_NESTED) throw new ContainerError(`more than ${MOST_NESTED} indexes lie within each other`);
  const bytes = readBlob(files, descriptor);
  const documents = [...above, bytes];
  if (kind === 'index')
    return readSavedImage(files, top, chooseManifest(readIndex(bytes, digest), hostPlatform), documents);
  const manifest = readManifest(bytes, `the manifest ${digest}`);
  return {
    configuration: readBlob(files, manifest.config),
    layers: manifest.layers.map((blob) => ({ file: blobPath(blob.digest), blob: recordOf(blob) })),
    references: referencesOf(top),
    documents,
    manifest: { digest, size, mediaType },
  };
}

function recordOf({ digest, size, mediaType }: Descriptor): BlobRecord {
  return { digest, size, mediaType };
}

/** Throws ContainerError when the blob is missing, or is not what its descriptor says. */
function readBlob(files: SavedFiles, { digest, size }: Descriptor): Buffer {
  const bytes = files.read(blobPath(digest));
  const actual = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (bytes.length !== size || actual !== digest)
    throw new ContainerError(
      `the blob ${digest} is damaged: it has ${bytes.length} bytes and the digest ${actual}, where ${size} bytes belong`,
    );
  return bytes;
}

function blobPath(digest: string): string {
  return `blobs/sha256/${digest.slice('sha256:'.length)}`;
}

/**
 * The names that the tools note in index.json. A bare word in ref.name is only a tag: it says nothing of a repository,
 * and the image stays without a name.
 */
function referencesOf({ annotations, digest }: Descriptor): Reference[] {
  const name = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
  if (typeof name !== 'string' || !/[:/]/.test(name)) return [];
  const reference = parseReference(name);
  const { domain, path } = reference;
  return reference.digest ? [reference] : [reference, { domain, path, digest }];
}
