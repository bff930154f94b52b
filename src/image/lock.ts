/** The store's lock: flock(2) on <root>/lock, held only for moments and never across an await. Host side. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { syscall } from '../core/host/syscall.ts';
import { LOCK_EX, LOCK_NB } from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';

const PATIENCE_MS = 30_000;
const PAUSE_MS = 5;

/** True when the lock is ours now; it goes with the last copy of the descriptor. flock(2). */
export function tryLock(fd: number): boolean {
  return syscall('flock', [fd, LOCK_EX | LOCK_NB], ['EAGAIN']) >= 0;
}

/**
 * Runs `act` while no other process changes the store; whoever dies lets go. Readers need no lock: every change becomes
 * visible by one rename. `act` must not return a promise. Throws ContainerError after 30 s of waiting.
 */
export function withStoreLock<T>(root: string, act: () => T): T {
  const path = join(root, 'lock');
  const fd = openSync(path, 'a', 0o600);
  try {
    for (let waited = 0; !tryLock(fd); waited += PAUSE_MS) {
      if (waited >= PATIENCE_MS)
        throw new ContainerError(`another tinyctr has held ${path} for ${PATIENCE_MS / 1000} seconds`, {
          hint: `fuser ${path} tells which process it is`,
        });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
    return act();
  } finally {
    closeSync(fd);
  }
}
