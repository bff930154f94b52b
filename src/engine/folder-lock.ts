/** A lock that is a folder itself: flock(2) on its descriptor, held for moments and never across an await. Host side. */
import { closeSync, constants, openSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import { tryLock } from '../image/lock.ts';

const PATIENCE_MS = 30_000;
const PAUSE_MS = 1;

/** Runs `act` with the lock; it goes with the process. Undefined where there is no such folder. Throws ContainerError after 30 s of waiting. */
export function withFolderLock<T>(path: string, act: () => T): T | undefined {
  const fd = openFolder(path);
  if (fd === undefined) return undefined;
  try {
    awaitLock(fd, path);
    return act();
  } finally {
    closeSync(fd);
  }
}

/** Undefined where there is none. Owned by the caller, with the lock that may come to it. */
function openFolder(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

function awaitLock(fd: number, path: string): void {
  for (let waited = 0; !tryLock(fd); waited += PAUSE_MS) {
    if (waited >= PATIENCE_MS)
      throw new ContainerError(`another tinyctr has held ${path} for ${PATIENCE_MS / 1000} seconds`, {
        hint: `fuser ${path} tells which process it is`,
      });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
  }
}

/** The lock's descriptor, owned by the caller; or that somebody holds it; undefined where there is no such folder. */
export function tryFolderLock(path: string): number | 'held' | undefined {
  const fd = openFolder(path);
  if (fd === undefined || tryLock(fd)) return fd;
  closeSync(fd);
  return 'held';
}
