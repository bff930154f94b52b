/** What lies in blobs/sha256: archives of layers and manifests, as they came, and the images that refer to them. Host side. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { blobsOfImage } from './blobs.ts';
import { blobsFolder, readdirIfThere } from './layout.ts';
import { listImages, listNames } from './records.ts';

export interface StoredBlob {
  digest: string;
  /** Bytes of the file. */
  size: number;
  /** Ids of the images that it belongs to. */
  images: string[];
}

export function listBlobs(root: string): StoredBlob[] {
  const names = listNames(root);
  const owners = new Map<string, string[]>();
  for (const image of listImages(root))
    for (const digest of new Set(blobsOfImage(image, names)))
      owners.set(digest, [...(owners.get(digest) ?? []), image.id]);
  return readdirIfThere(blobsFolder(root)).flatMap((name) => {
    const stat = statSync(join(blobsFolder(root), name), { throwIfNoEntry: false });
    if (stat === undefined || !/^[a-f0-9]{64}(\.partial)?$/.test(name)) return [];
    const digest = `sha256:${name.slice(0, 64)}`;
    return { digest, size: stat.size, images: owners.get(digest) ?? [] };
  });
}

/** What images take: the files of their layers, each layer once, and the archives. */
export function storedBytes(root: string): number {
  const layers = new Map(listImages(root).flatMap(({ content }) => content.map(({ diffId, size }) => [diffId, size])));
  return (
    [...layers.values()].reduce((sum, size) => sum + size, 0) + listBlobs(root).reduce((sum, { size }) => sum + size, 0)
  );
}
