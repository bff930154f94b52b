/** `load`: images that another tool has saved, with all their layers, names and configuration. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { digestOf, writeDocumentBlob } from './blobs.ts';
import { commitImage } from './commit.ts';
import { readImageDocument } from './config.ts';
import { readDockerArchive } from './docker-archive.ts';
import { readOciLayout, type SavedImage } from './oci-layout.ts';
import type { Image, LayerRecord } from './records.ts';
import { openSaved, type SavedFiles } from './saved-files.ts';
import { knownLayer, type Promised, takeLayer } from './take-layer.ts';
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
  work.keepBlobs([...saved.documents.map(digestOf), ...saved.layers.flatMap(({ blob }) => blob?.digest ?? [])]);
  for (const document of saved.documents) writeDocumentBlob(root, document);
  const content: LayerRecord[] = [];
  for (const [i, { file, blob }] of saved.layers.entries()) {
    const what = `layer ${i + 1} of ${diffIds.length}`;
    const promised: Promised = { what, diffId: diffIds[i]!, ...(blob && { blob }) };
    content.push(knownLayer(root, work, promised) ?? (await takeLayer(work, files.stream(file), promised)));
  }
  return commitImage(root, saved.configuration, content, saved.references, saved.manifest);
}
