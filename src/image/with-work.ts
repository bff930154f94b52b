/** Work in the store that may fail: whatever it leaves is removed. Host side. */
import { removeUnusedBlobs } from './blobs.ts';
import { removeUnused } from './clean.ts';
import { withStoreLock } from './lock.ts';
import { keptBlobs, Work } from './work.ts';

/**
 * Runs `act` with a Work of its own. When it fails, layers that it published and no image has go again, and so do blobs
 * unless `unusedBlobs` says that they stay: a pull goes on with them.
 */
export async function withWork<T>(
  root: string,
  act: (work: Work) => Promise<T>,
  unusedBlobs: 'go' | 'stay' = 'go',
): Promise<T> {
  const work = new Work(root);
  let done = false;
  try {
    const result = await act(work);
    done = true;
    return result;
  } finally {
    const blobs = work.ownBlobs();
    work.close();
    if (!done) removeUnused(root);
    if (!done && unusedBlobs === 'go') withStoreLock(root, () => removeUnusedBlobs(root, keptBlobs(root), blobs));
  }
}
