/**
 * How much an image may ask for before it is refused (SEC-18). Images are untrusted: a few bytes may claim gigabytes.
 * docs/images.md lists these numbers; a test holds the two together.
 */

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

export interface Limits {
  /** Bytes of a manifest, an index or an image configuration. */
  documentBytes: number;
  /** Layers of one image. */
  layers: number;
  /** Volumes that a container of it gets. */
  volumes: number;
  /** Manifests in one index, and images in one archive. */
  manifests: number;
  /** Entries in one layer. */
  entries: number;
  /** Entries in the archive of a saved image. */
  savedFiles: number;
  /** Bytes of one pax header, one long name or one map of a sparse file. */
  headerBytes: number;
  /** Runs of data in one sparse file. */
  extents: number;
  /** Bytes of one layer's archive after decompression, or of a saved image. */
  unpackedBytes: number;
  /** Bytes that zstd may refer back: each layer that is being unpacked takes that much memory. */
  windowBytes: number;
  /** How many times larger than its compressed form an archive may grow, once it is beyond ratioFreeBytes. */
  ratio: number;
  ratioFreeBytes: number;
}

export const limits: Readonly<Limits> = {
  documentBytes: 4 * MiB,
  layers: 125,
  volumes: 100,
  manifests: 1000,
  entries: 1_000_000,
  savedFiles: 50_000,
  headerBytes: 1 * MiB,
  extents: 50_000,
  unpackedBytes: 100 * GiB,
  windowBytes: 32 * MiB,
  ratio: 200,
  ratioFreeBytes: 1 * GiB,
};
