/**
 * Indexes and manifests, as files of a layout and as documents of a registry: what may stand in them, and which image of
 * several is meant. Pure. All of it is untrusted. Source: OCI image-spec, image-index.md, manifest.md, descriptor.md;
 * distribution's manifest-v2-2.md for docker's types of the same.
 */
import { ContainerError } from '../core/kernel/error.ts';
import { asObject, asString, asWord, isDigest, parseJson } from './config.ts';
import { limits } from './limits.ts';
import { type Platform, platformName, rank } from './platform.ts';

/** A blob as an index or a manifest describes it. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: Platform;
  annotations: Record<string, unknown>;
}

export const INDEX_TYPES: readonly string[] = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
export const MANIFEST_TYPES: readonly string[] = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const CONFIG_TYPES = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];
const LAYER_TYPES =
  /^application\/vnd\.(oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(\.gzip|\.zstd)?)$/;
const FOREIGN_TYPES = /\.(nondistributable|foreign)\./;
export const MOST_NESTED = 4;

/** What a registry may call a document that is no image of today. */
const refused: [pattern: RegExp, what: string, hint?: string][] = [
  [
    /^application\/(vnd\.docker\.distribution\.manifest\.v1\+(json|prettyjws)|json)$/,
    "a manifest of docker's first format (schema 1), which nobody writes since 2017",
    'pull it with an old docker and push it again, or ask its owner to',
  ],
  [/^application\/vnd\.oci\.artifact\.manifest/, 'an artifact, not a container image'],
  [/^application\/vnd\.docker\.plugin/, 'a docker plugin, not a container image'],
  [/\bhtml\b/, 'a web page: this is no registry'],
];

/** Throws ContainerError that says what it is, for a type that is neither an index nor a manifest. */
export function checkDocumentType(mediaType: string, where: string): 'index' | 'manifest' {
  if (INDEX_TYPES.includes(mediaType)) return 'index';
  if (MANIFEST_TYPES.includes(mediaType)) return 'manifest';
  const [, what, hint] = refused.find(([pattern]) => pattern.test(mediaType)) ?? [];
  throw new ContainerError(`${where} is ${what ?? `of type ${JSON.stringify(mediaType)}: not an image`}`, { hint });
}

/** The entries of an index, without those that only tell how an image was built. Throws ContainerError. */
export function readIndex(bytes: Buffer, where: string): Descriptor[] {
  const { manifests } = readDocument(bytes, where, ['config', 'layers', 'fsLayers']);
  if (!Array.isArray(manifests)) throw new ContainerError(`${where} has no list of manifests`);
  if (manifests.length > limits.manifests)
    throw new ContainerError(
      `${where} has ${manifests.length} manifests, where at most ${limits.manifests} are allowed`,
    );
  return manifests.map((one) => readDescriptor(one, where)).filter((one) => !isAttestation(one));
}

export interface Manifest {
  config: Descriptor;
  /** Lowest first. */
  layers: Descriptor[];
}

/** Throws ContainerError, also for what is no container image and for layers that can't be had or unpacked. */
export function readManifest(bytes: Buffer, where: string): Manifest {
  const manifest = readDocument(bytes, where, ['manifests', 'fsLayers']);
  const config = readDescriptor(manifest.config, where);
  if (!CONFIG_TYPES.includes(config.mediaType)) throw notAnImage(where, manifest.artifactType, config.mediaType);
  if (config.size > limits.documentBytes)
    throw new ContainerError(
      `${where} has a configuration of ${config.size} bytes, where at most ${limits.documentBytes} are allowed`,
    );
  if (!Array.isArray(manifest.layers)) throw new ContainerError(`${where} has no list of layers`);
  if (manifest.layers.length > limits.layers)
    throw new ContainerError(
      `${where} has ${manifest.layers.length} layers, where at most ${limits.layers} are allowed`,
    );
  const layers = manifest.layers.map((one) => readDescriptor(one, where));
  for (const layer of layers) checkLayerType(layer, where);
  return { config, layers };
}

/**
 * A document that is two things at once means one to this reader and another to the next (CVE-2021-41190): it must not have
 * the other kind's fields.
 */
function readDocument(bytes: Buffer, where: string, others: readonly string[]): Record<string, unknown> {
  const document = asObject(parseJson(bytes, where), where, 'the document');
  const other = others.find((field) => document[field] !== undefined);
  if (other !== undefined)
    throw new ContainerError(`${where} is two kinds of document at once: it has ${JSON.stringify(other)} as well`);
  return document;
}

function checkLayerType({ mediaType, digest, size }: Descriptor, where: string): void {
  if (FOREIGN_TYPES.test(mediaType))
    throw new ContainerError(
      `${where} has a foreign layer, which registries don't hand out (${mediaType}): it comes from its owner only, as those of Windows`,
    );
  if (!LAYER_TYPES.test(mediaType))
    throw new ContainerError(`${where} has a layer of type ${mediaType}, which can't be unpacked`);
  if (size > limits.unpackedBytes)
    throw new ContainerError(
      `${where} has the layer ${digest} of ${size} bytes, where at most ${limits.unpackedBytes} are allowed`,
    );
}

function notAnImage(where: string, artifactType: unknown, configType: string): ContainerError {
  const known: Record<string, string> = {
    'application/vnd.cncf.helm.config.v1+json': 'a Helm chart',
    'application/vnd.docker.plugin.v1+json': 'a docker plugin',
    'application/vnd.wasm.config.v0+json': 'a WebAssembly module',
    'application/vnd.wasm.config.v1+json': 'a WebAssembly module',
  };
  const type = typeof artifactType === 'string' && artifactType !== '' ? artifactType : configType;
  return new ContainerError(`${where} is of ${known[type] ?? 'something'} that is no container image: ${type}`);
}

/** The entry for `wanted`: the one that fits best, the first of equals; also the only one there is when it doesn't say. */
export function chooseManifest(entries: readonly Descriptor[], wanted: Platform): Descriptor {
  const ranked = entries.flatMap((entry) => {
    const place = entry.platform && rank(entry.platform, wanted);
    return place === undefined ? [] : [{ entry, place }];
  });
  const best = ranked.sort((a, b) => a.place - b.place)[0]?.entry;
  const only = entries.length === 1 && entries[0]?.platform === undefined ? entries[0] : undefined;
  const chosen = best ?? only;
  if (chosen === undefined) throw nothingFor(wanted, entries);
  return chosen;
}

export function nothingFor(wanted: Platform, found: readonly Descriptor[]): ContainerError {
  const platforms = found.map((one) => (one.platform ? platformName(one.platform) : 'unknown'));
  return new ContainerError(
    `no image for ${platformName(wanted)} is in there, only for: ${[...new Set(platforms)].join(', ') || 'nothing'}`,
  );
}

/** What buildx puts beside an image to say how it was built. */
function isAttestation({ annotations, platform }: Descriptor): boolean {
  return annotations['vnd.docker.reference.type'] !== undefined || platform?.os === 'unknown';
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
