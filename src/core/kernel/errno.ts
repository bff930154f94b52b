/** The errnos of Linux by name, number and the words for people. Source: errno(3); the numbers are the same on x86-64 and arm64. */
import { getSystemErrorMap } from 'node:util';

/** The errnos that this code asks about: E.ENOENT is 2. All others have a name only where one is told of: node:os takes half a millisecond to load. */
export const E = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENOTEMPTY: 39,
  ELOOP: 40,
} as const;

export type ErrnoName = keyof typeof E;

/** Beyond those that libuv has words for. By -errno: name, words. */
const more: readonly [number, [string, string]][] = [
  [-8, ['ENOEXEC', 'exec format error']],
  [-10, ['ECHILD', 'no child processes']],
  [-74, ['EBADMSG', 'bad message']],
  [-95, ['EOPNOTSUPP', 'operation not supported']],
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

/** The number of any errno that has a name; undefined for other words. */
export function errnoNumber(name: string): number | undefined {
  entryOf(0);
  for (const [negative, [candidate]] of known!)
    if (candidate === name && negative > -134 /* below are libuv's own */) return -negative;
  return undefined;
}

export function errnoName(errno: number): string {
  return entryOf(errno)?.[0] ?? `errno ${errno}`;
}

export function errnoText(errno: number): string {
  return entryOf(errno)?.[1] ?? `error ${errno}`;
}
