/** The image that a command works on: it is here, or it is the embedded one and is made now. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { findImage, type Image } from './records.ts';
import { familiarName, parseReference } from './reference.ts';

/** Throws ContainerError where there is none: nothing is fetched for these commands. */
export async function needImage(root: string, reference: string): Promise<Image> {
  const found = findImage(root, reference);
  if (found !== undefined) return found;
  if (!reference.startsWith('sha256:') && familiarName(parseReference(reference)) === 'busybox:latest') {
    const { loadEmbedded } = await import('./embedded.ts');
    return await loadEmbedded(root);
  }
  throw new ContainerError(`No such image: ${reference}`, { exitCode: 1 });
}
