/** Random numbers from the kernel itself, random(4): loading node:crypto for them costs 4 ms. */
import { closeSync, openSync, readSync } from 'node:fs';

/** Twice as many hex digits as `bytes`. */
export function randomHex(bytes: number): string {
  const buffer = Buffer.alloc(bytes);
  const fd = openSync('/dev/urandom', 'r');
  readSync(fd, buffer);
  closeSync(fd);
  return buffer.toString('hex');
}
