/** The errnos of Linux by name, number and the words for people. Source: errno(3); the numbers are the same on x86-64 and arm64. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** The number of an errno by name: E.ENOENT is 2. */
export const E: Record<string, number> = { ...constants.errno, EUCLEAN: 117 };

/** Beyond those that libuv has words for. By -errno: name, words. */
const more: readonly [number, [string, string]][] = [
  [-8, ['ENOEXEC', 'exec format error']],
  [-10, ['ECHILD', 'no child processes']],
  [-74, ['EBADMSG', 'bad message']],
  [-116, ['ESTALE', 'stale file handle']],
  [-117, ['EUCLEAN', 'structure needs cleaning']],
  [-122, ['EDQUOT', 'disk quota exceeded']],
];
let known: Map<number, [string, string]> | undefined;

/** Made when there is an error to tell of, not at every start. */
function entryOf(errno: number): [string, string] | undefined {
  known ??= new Map([...getSystemErrorMap(), ...more]);
  return known.get(-errno);
}

export function errnoName(errno: number): string {
  return entryOf(errno)?.[0] ?? `errno ${errno}`;
}

export function errnoText(errno: number): string {
  return entryOf(errno)?.[1] ?? `error ${errno}`;
}
