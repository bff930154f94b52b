/** Work in the store that may fail: whatever it leaves is removed. Host side. */
import { removeUnusedBlobs } from './blobs.ts';
import { removeUnused } from './clean.ts';
import { withStoreLock } from './lock.ts';
import { findImage, type Image } from './records.ts';
import { keptBlobs, Work } from './work.ts';

export interface WorkOptions {
  /** Images that are read: of those that somebody removes meanwhile, what this work kept goes at its end. */
  images?: readonly Image[];
  /** What becomes of blobs without an image when the work fails: a pull goes on with them the next time. */
  blobs?: 'go' | 'stay';
}

/** Runs `act` with a Work of its own. When it fails, what it published and no image has goes again. */
export async function withWork<T>(
  root: string,
  act: (work: Work) => Promise<T>,
  { images = [], blobs = 'go' }: WorkOptions = {},
): Promise<T> {
  const work = new Work(root);
  let done = false;
  try {
    const result = await act(work);
    done = true;
    return result;
  } finally {
    const own = work.ownBlobs();
    work.close();
    if (!done || images.some(({ id }) => findImage(root, id) === undefined)) {
      removeUnused(root);
      if (blobs === 'go') withStoreLock(root, () => removeUnusedBlobs(root, keptBlobs(root), own));
    }
  }
}
