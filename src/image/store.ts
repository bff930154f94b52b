/**
 * The store as `run` needs it: the image that was asked for. Host side. What makes or fetches one is loaded only when there
 * is something to make or fetch.
 */
import type { Wish } from './obtain.ts';
import { findImage, type Image } from './records.ts';

export { layersFolder } from './layout.ts';
export { findImage, type Image };

/**
 * Finds the image, makes it when it is the embedded one, has `fetch` bring it when it may and must; undefined when that
 * failed and has said why. Throws ContainerError.
 */
export async function ensureImage(
  root: string,
  reference: string,
  wish: Wish = {},
  fetch: (reference: string) => Promise<boolean> = async () => false,
): Promise<Image | undefined> {
  const found = findImage(root, reference);
  if (found !== undefined && wish.pull === undefined && wish.platform === undefined) return found;
  const { obtainImage } = await import('./obtain.ts');
  return await obtainImage(root, reference, found, wish, fetch);
}
