/** `load`: images that another tool has saved, with all their layers, names and configuration. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { commitImage } from './commit.ts';
import { readImageDocument } from './config.ts';
import { readDockerArchive } from './docker-archive.ts';
import { readOciLayout, type SavedImage } from './oci-layout.ts';
import { type Image, type LayerRecord, listImages } from './records.ts';
import { openSaved, type SavedFiles } from './saved-files.ts';
import { unpackLayer } from './unpack/layer.ts';
import { withWork } from './with-work.ts';
import type { Work } from './work.ts';

/** `source` is a file, a directory, or - for stdin. Throws ContainerError; images before the damaged one are in the store. */
export async function loadImages(root: string, source: string): Promise<Image[]> {
  return await withWork(root, async (work) => {
    const files = await openSaved(source, work.path('archive'));
    try {
      const images: Image[] = [];
      for (const saved of readSaved(files, source)) images.push(await loadOne(root, work, files, saved));
      return images;
    } finally {
      files.close();
    }
  });
}

/** Docker's newer archives are both at once: then manifest.json says what docker itself would load. */
function readSaved(files: SavedFiles, source: string): SavedImage[] {
  if (files.has('manifest.json')) return readDockerArchive(files);
  if (files.has('oci-layout')) return readOciLayout(files);
  throw new ContainerError(`${source} is no saved image: it has neither manifest.json nor oci-layout`, {
    hint: 'the archive of a root filesystem becomes an image with: tinyctr import FILE NAME',
  });
}

async function loadOne(root: string, work: Work, files: SavedFiles, saved: SavedImage): Promise<Image> {
  const { diffIds } = readImageDocument(saved.configuration, "the image's configuration");
  if (diffIds.length !== saved.layers.length)
    throw new ContainerError(`the image has ${saved.layers.length} layers, but its configuration ${diffIds.length}`);
  const content: LayerRecord[] = [];
  for (const [i, layer] of saved.layers.entries()) {
    const what = `layer ${i + 1} of ${diffIds.length}`;
    const { size } =
      knownLayer(root, work, diffIds[i]!) ?? (await unpackVerified(work, files, layer, diffIds[i]!, what));
    content.push({ diffId: diffIds[i]!, size, ...(layer.blob && { blob: layer.blob }) });
  }
  return commitImage(root, saved.configuration, content, saved.references);
}

/** A layer that the store has already, for another image or from a moment ago. */
function knownLayer(root: string, work: Work, diffId: string): { size: number } | undefined {
  if (!work.keep(diffId)) return undefined;
  return listImages(root)
    .flatMap((image) => image.content)
    .find((layer) => layer.diffId === diffId);
}

async function unpackVerified(
  work: Work,
  files: SavedFiles,
  { file, blob }: SavedImage['layers'][number],
  diffId: string,
  what: string,
): Promise<{ size: number }> {
  const tree = work.newTree();
  const unpacked = await unpackLayer(files.stream(file), tree).catch((error) => {
    if (!(error instanceof ContainerError)) throw error;
    throw new ContainerError(`${what}: ${error.message}`, { hint: error.hint, cause: error.cause });
  });
  if (blob && (unpacked.blob.digest !== blob.digest || unpacked.blob.size !== blob.size))
    throw damaged(what, 'manifest', blob.digest, unpacked.blob.digest);
  if (unpacked.diffId !== diffId) throw damaged(what, 'configuration', diffId, unpacked.diffId);
  work.publish(tree, diffId);
  return unpacked;
}

function damaged(what: string, who: string, expected: string, actual: string): ContainerError {
  return new ContainerError(`${what} is damaged: its digest is ${actual}, where the ${who} says ${expected}`);
}
