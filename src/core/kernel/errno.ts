/** The errnos of Linux by name, number and the words for people. Source: errno(3); the numbers are the same on x86-64 and arm64. */
import { getSystemErrorMap } from 'node:util';

/** Node knows those that libuv does; the kernel has more. -errno: name, words. */
const known = new Map([
  ...getSystemErrorMap(),
  [-8, ['ENOEXEC', 'exec format error']],
  [-10, ['ECHILD', 'no child processes']],
  [-74, ['EBADMSG', 'bad message']],
  [-116, ['ESTALE', 'stale file handle']],
  [-117, ['EUCLEAN', 'structure needs cleaning']],
  [-122, ['EDQUOT', 'disk quota exceeded']],
] as [number, [string, string]][]);

/** The number of an errno by name: E.ENOENT is 2. */
export const E: Record<string, number> = Object.fromEntries([...known].map(([negative, [name]]) => [name, -negative]));

export function errnoName(errno: number): string {
  return known.get(-errno)?.[0] ?? `errno ${errno}`;
}

export function errnoText(errno: number): string {
  return known.get(-errno)?.[1] ?? `error ${errno}`;
}
