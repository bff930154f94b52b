/** An image as a registry and an OCI layout get it: manifest, configuration, archives of its layers. Host side. */
import { digestOf, hasBlob, readDocumentBlob } from './blobs.ts';
import { recordArchives } from './commit.ts';
import { compressedArchive, knownArchives, type Watch } from './layer-archive.ts';
import { inParallel } from './parallel.ts';
import { type BlobRecord, type Image, type LayerRecord, readConfiguration } from './records.ts';
import type { Work } from './work.ts';

export interface SendableImage {
  /** The configuration byte by byte. Its SHA-256 is the image's id. */
  configuration: Buffer;
  /** Lowest first. Their archives are in the store, kept by the Work that was given. */
  layers: (LayerRecord & { blob: BlobRecord })[];
  manifest: { bytes: Buffer; blob: BlobRecord };
}

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
/** gzip is what takes the time, in Node's own four threads. */
const MOST_AT_ONCE = 4;

/**
 * The manifest is the one that the image came by, if it came by one: then its digest is the same everywhere. Otherwise it
 * is made of the archives, and the same archives give the same one. Throws ContainerError.
 */
export async function makeSendable(
  root: string,
  work: Work,
  image: Image,
  compressing: Watch = () => {},
): Promise<SendableImage> {
  const configuration = readConfiguration(root, image.id);
  const asItCame = cameByManifest(root, work, image);
  if (asItCame) return { configuration, ...asItCame };
  const known = knownArchives(root);
  const layers = await inParallel(image.content, MOST_AT_ONCE, async (layer) => ({
    ...layer,
    blob: await compressedArchive(root, work, layer, known, compressing),
  }));
  recordArchives(root, image, layers);
  return { configuration, layers, manifest: makeManifest(configuration, layers) };
}

/** undefined when there was no manifest, or when not all of it is here any more. */
function cameByManifest(root: string, work: Work, { manifest, content }: Image) {
  if (manifest === undefined) return undefined;
  const layers = content.flatMap((layer) => (layer.blob ? [{ ...layer, blob: layer.blob }] : []));
  work.keepBlobs([manifest.digest, ...layers.map(({ blob }) => blob.digest)]);
  const bytes = readDocumentBlob(root, manifest.digest);
  const isComplete = layers.length === content.length && layers.every(({ blob }) => hasBlob(root, blob.digest));
  return bytes && isComplete ? { layers, manifest: { bytes, blob: manifest } } : undefined;
}

/** Source: OCI image-spec, manifest.md. */
function makeManifest(configuration: Buffer, layers: SendableImage['layers']): SendableImage['manifest'] {
  const document = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: digestOf(configuration), size: configuration.length },
    layers: layers.map(({ blob: { mediaType, digest, size } }) => ({ mediaType: ociType(mediaType), digest, size })),
  };
  const bytes = Buffer.from(JSON.stringify(document));
  return { bytes, blob: { mediaType: MANIFEST_TYPE, digest: digestOf(bytes), size: bytes.length } };
}

/** Docker's name for an archive's type said as OCI says it. */
function ociType(mediaType: string): string {
  const compression = /[+.](gzip|zstd)$/.exec(mediaType)?.[1];
  return `application/vnd.oci.image.layer.v1.tar${compression === undefined ? '' : `+${compression}`}`;
}
