/** Work in the store that may fail: whatever it leaves is removed. Host side. */
import { removeUnused } from './clean.ts';
import { Work } from './work.ts';

/** Runs `act` with a Work of its own. When it fails, layers that it published and no image has go again. */
export async function withWork<T>(root: string, act: (work: Work) => Promise<T>): Promise<T> {
  const work = new Work(root);
  let done = false;
  try {
    const result = await act(work);
    done = true;
    return result;
  } finally {
    work.close();
    if (!done) removeUnused(root);
  }
}
