/**
 * Images saved as an OCI layout (skopeo, podman, buildx, docker since 25): index.json leads to manifests, these to
 * configurations and layers, each named by its digest and checked against it. Host side.
 * Source: OCI image-spec, image-layout.md, image-index.md, manifest.md, descriptor.md.
 */
import { createHash } from 'node:crypto';
import { ContainerError } from '../core/kernel/error.ts';
import { asObject, asString, asWord, isDigest, parseJson } from './config.ts';
import { limits } from './limits.ts';
import { hostPlatform, type Platform, platformName, runsHere } from './platform.ts';
import { parseReference, type Reference } from './reference.ts';
import type { SavedFiles } from './saved-files.ts';

/** A blob as a manifest describes it. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: Platform;
  annotations: Record<string, unknown>;
}

/** An image that is about to be loaded, whatever it was saved as. */
export interface SavedImage {
  configuration: Buffer;
  /** Lowest first. With a descriptor where the manifest has one. */
  layers: { file: string; blob?: { digest: string; size: number; mediaType: string } }[];
  references: Reference[];
}

const INDEX_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const MANIFEST_TYPES = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const CONFIG_TYPES = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];
const LAYER_TYPES =
  /^application\/vnd\.(oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(\.gzip|\.zstd)?)$/;
const MOST_NESTED = 4;

/** All images of the layout that run here. Throws ContainerError when none does, or when something is damaged. */
export function readOciLayout(files: SavedFiles): SavedImage[] {
  const version = asObject(parseJson(files.read('oci-layout'), 'oci-layout'), 'oci-layout', 'the document');
  if (version.imageLayoutVersion !== '1.0.0')
    throw new ContainerError(`the OCI layout has version ${JSON.stringify(version.imageLayoutVersion)}, not "1.0.0"`);
  const top = readManifests(files.read('index.json'), 'index.json').filter((one) => !isAttestation(one));
  const here = top.filter((one) => one.platform === undefined || runsHere(one.platform));
  if (here.length === 0) throw nothingForThisPlatform(top);
  return here.map((one) => readSavedImage(files, one));
}

function readSavedImage(files: SavedFiles, top: Descriptor): SavedImage {
  const manifest = readManifest(files, findManifest(files, top, 0));
  return { ...manifest, references: referencesOf(top) };
}

/** Goes from indexes down to the manifest for this platform. */
function findManifest(files: SavedFiles, descriptor: Descriptor, depth: number): Descriptor {
  if (MANIFEST_TYPES.includes(descriptor.mediaType)) return descriptor;
  if (!INDEX_TYPES.includes(descriptor.mediaType))
    throw new ContainerError(`${descriptor.digest} is of type ${descriptor.mediaType}: not an image`);
  if (depth >= MOST_NESTED) throw new ContainerError(`more than ${MOST_NESTED} indexes lie within each other`);
  const inner = readManifests(readBlob(files, descriptor), descriptor.digest).filter((one) => !isAttestation(one));
  const match = inner.find((one) => one.platform !== undefined && runsHere(one.platform));
  const only = inner.length === 1 && inner[0]?.platform === undefined ? inner[0] : undefined;
  const chosen = match ?? only;
  if (chosen === undefined) throw nothingForThisPlatform(inner);
  return findManifest(files, chosen, depth + 1);
}

function nothingForThisPlatform(found: readonly Descriptor[]): ContainerError {
  const platforms = found.map((one) => (one.platform ? platformName(one.platform) : 'unknown'));
  return new ContainerError(
    `no image for ${platformName(hostPlatform)} is in there, only for: ${[...new Set(platforms)].join(', ') || 'nothing'}`,
  );
}

/** What buildx puts beside an image to say how it was built. */
function isAttestation({ annotations, platform }: Descriptor): boolean {
  return annotations['vnd.docker.reference.type'] !== undefined || platform?.os === 'unknown';
}

/** Throws ContainerError when the blob is missing, or is not what its descriptor says. */
function readBlob(files: SavedFiles, { digest, size }: Descriptor): Buffer {
  const bytes = files.read(blobFile(digest));
  const actual = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (bytes.length !== size || actual !== digest)
    throw new ContainerError(
      `the blob ${digest} is damaged: it has ${bytes.length} bytes and the digest ${actual}, where ${size} bytes belong`,
    );
  return bytes;
}

export function blobFile(digest: string): string {
  return `blobs/sha256/${digest.slice('sha256:'.length)}`;
}

function readManifests(bytes: Buffer, where: string): Descriptor[] {
  const { manifests } = asObject(parseJson(bytes, where), where, 'the document');
  if (!Array.isArray(manifests)) throw new ContainerError(`${where} has no list of manifests`);
  if (manifests.length > limits.manifests)
    throw new ContainerError(
      `${where} has ${manifests.length} manifests, where at most ${limits.manifests} are allowed`,
    );
  return manifests.map((one) => readDescriptor(one, where));
}

function readManifest(files: SavedFiles, descriptor: Descriptor): Omit<SavedImage, 'references'> {
  const where = `the manifest ${descriptor.digest}`;
  const manifest = asObject(parseJson(readBlob(files, descriptor), where), where, 'the document');
  const config = readDescriptor(manifest.config, where);
  if (!CONFIG_TYPES.includes(config.mediaType))
    throw new ContainerError(`${where} is of something that is no container image: ${config.mediaType}`);
  if (!Array.isArray(manifest.layers)) throw new ContainerError(`${where} has no list of layers`);
  if (manifest.layers.length > limits.layers)
    throw new ContainerError(
      `${where} has ${manifest.layers.length} layers, where at most ${limits.layers} are allowed`,
    );
  const layers = manifest.layers.map((one) => readDescriptor(one, where));
  const foreign = layers.find(({ mediaType }) => !LAYER_TYPES.test(mediaType));
  if (foreign) throw new ContainerError(`${where} has a layer of type ${foreign.mediaType}, which can't be unpacked`);
  return {
    configuration: readBlob(files, config),
    layers: layers.map(({ digest, size, mediaType }) => ({
      file: blobFile(digest),
      blob: { digest, size, mediaType },
    })),
  };
}

function readDescriptor(value: unknown, where: string): Descriptor {
  const fields = asObject(value, where, 'a descriptor');
  const { digest, size } = fields;
  if (!isDigest(digest))
    throw new ContainerError(
      `${where} has the digest ${JSON.stringify(digest)}, where sha256 and 64 hex digits must be`,
    );
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw new ContainerError(`${where} has the size ${JSON.stringify(size)} for ${digest}`);
  const descriptor: Descriptor = {
    mediaType: asString(fields.mediaType, where, 'mediaType'),
    digest,
    size,
    annotations: asObject(fields.annotations ?? {}, where, 'annotations'),
  };
  if (fields.platform != null) descriptor.platform = readPlatform(fields.platform, where);
  return descriptor;
}

function readPlatform(value: unknown, where: string): Platform {
  const fields = asObject(value, where, 'platform');
  const platform: Platform = {
    os: asWord(fields.os, where, 'platform.os'),
    architecture: asWord(fields.architecture, where, 'platform.architecture'),
  };
  if (fields.variant != null && fields.variant !== '')
    platform.variant = asWord(fields.variant, where, 'platform.variant');
  return platform;
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
