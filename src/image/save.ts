/** `save`: images of the store for another machine or another tool. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { cleanStore } from './clean.ts';
import { needImage } from './need.ts';
import { dockerFiles } from './save-docker.ts';
import { ociFiles } from './save-oci.ts';
import { saveToDirectory, saveToFile, saveToStdout, type WantedImage } from './save-output.ts';
import { withWork } from './with-work.ts';
import type { Work } from './work.ts';

export type SaveFormat = 'docker-archive' | 'oci-archive' | 'oci-dir';

export interface SaveOptions {
  format: SaveFormat;
  /** A file, or for oci-dir a directory; standard output when it is undefined. */
  output: string | undefined;
}

/**
 * `references`: names or ids. A name is saved with the image, an id saves it without one. Throws ContainerError; a file
 * or directory is then not there.
 */
export async function saveImages(root: string, references: readonly string[], options: SaveOptions): Promise<void> {
  const { format, output } = options;
  if (format === 'oci-dir' && output === undefined) throw new ContainerError('--format oci-dir needs -o DIR');
  cleanStore(root);
  const wanted = await wantedImages(root, references);
  const save = async (work: Work) => {
    for (const { image } of wanted) for (const { diffId } of image.content) work.keep(diffId);
    const files = await (format === 'docker-archive' ? dockerFiles : ociFiles)(root, work, wanted);
    if (output === undefined) await saveToStdout(files);
    else await (format === 'oci-dir' ? saveToDirectory : saveToFile)(files, output);
  };
  await withWork(root, save, { images: wanted.map(({ image }) => image) });
}

/** Each image once, with all the names that it was asked for by. */
async function wantedImages(root: string, references: readonly string[]): Promise<WantedImage[]> {
  const wanted = new Map<string, WantedImage>();
  for (const reference of references) {
    const image = await needImage(root, reference);
    const one = wanted.get(image.id) ?? { image, tags: [] };
    const tags = image.names.filter((name) => !name.includes('@') && !one.tags.includes(name));
    one.tags.push(...tags);
    wanted.set(image.id, one);
  }
  return [...wanted.values()];
}
