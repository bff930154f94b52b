/** What lies in blobs/sha256: archives of layers and manifests, as they came, and the images that refer to them. Host side. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { readdirIfThere } from './layout.ts';
import { listImages } from './records.ts';

export interface StoredBlob {
  digest: string;
  /** Bytes of the file. */
  size: number;
  /** Ids of the images that it belongs to. */
  images: string[];
}

export function listBlobs(root: string): StoredBlob[] {
  const folder = join(root, 'blobs/sha256');
  const images = listImages(root);
  return readdirIfThere(folder).flatMap((name) => {
    const stat = statSync(join(folder, name), { throwIfNoEntry: false });
    if (stat === undefined || !/^[a-f0-9]{64}$/.test(name)) return [];
    const digest = `sha256:${name}`;
    const owners = images.filter(({ content }) => content.some(({ blob }) => blob?.digest === digest));
    return { digest, size: stat.size, images: owners.map(({ id }) => id) };
  });
}

/** What images take: the files of their layers, each layer once, and the archives. */
export function storedBytes(root: string): number {
  const layers = new Map(listImages(root).flatMap(({ content }) => content.map(({ diffId, size }) => [diffId, size])));
  return (
    [...layers.values()].reduce((sum, size) => sum + size, 0) + listBlobs(root).reduce((sum, { size }) => sum + size, 0)
  );
}
