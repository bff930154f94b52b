/** Repositories from which a registry may take a blob over, instead of getting it once more. Host side. */
import { listImages, listNames } from '../image/records.ts';
import type { Reference } from '../image/reference.ts';

const MOST = 3;

/**
 * Other repositories of the same registry whose images, here, have this blob: it came from there or went there. Whether
 * it still is there the registry says.
 */
export function mountSources(root: string, digest: string, { domain, path }: Reference): string[] {
  const images = listImages(root).filter(({ content }) => content.some(({ blob }) => blob?.digest === digest));
  const ids = new Set(images.map(({ id }) => id));
  const paths = listNames(root).flatMap(({ reference, id }) =>
    ids.has(id) && reference.domain === domain && reference.path !== path ? [reference.path] : [],
  );
  return [...new Set(paths)].slice(0, MOST);
}
