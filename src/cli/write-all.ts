/** Bytes of a container's to standard output or error, all of them. */
import { writeSync } from 'node:fs';
import type { HostFd } from '../core/stage/stage.ts';
import { setBlocking } from '../engine/wait.ts';

/** Waits for who reads slowly, also where somebody else has made the pipe non-blocking. Throws EPIPE when nobody reads any more. */
export function writeAll(fd: 1 | 2, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; )
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EAGAIN') throw error;
      setBlocking(fd as number as HostFd);
    }
}
