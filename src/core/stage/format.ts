/** Prints a system call the way strace does: flags by name, memory in short. Pure. */
import * as constants from '../kernel/constants.ts';
import type { Arg, Memory, Reference } from './protocol.ts';

type ArgFormat = (value: number | bigint) => string;

let all: [name: string, value: number][] | undefined;

/** The constants whose names begin so. `prefix` may be several, separated by `|`. */
export function constantsOf(prefix: string): [name: string, value: number][] {
  all ??= Object.entries(constants).sort(); // as in a bundle: a module's names are sorted
  const prefixes = prefix.split('|');
  return all.filter(([name]) => prefixes.some((p) => name.startsWith(p)));
}

function namesOf(prefix: string, except: string[]): () => [name: string, value: number][] {
  let known: [string, number][] | undefined;
  return () => {
    known ??= constantsOf(prefix).filter(([name]) => !except.includes(name));
    return known;
  };
}

const flagsOf = (prefix: string, ...except: string[]): ArgFormat => {
  const known = namesOf(prefix, except);
  return (value) => {
    let rest = BigInt(value);
    const names: string[] = [];
    for (const [name, bits] of known()) {
      const mask = BigInt(bits);
      if (mask > 0n && (rest & mask) === mask) {
        names.push(name);
        rest &= ~mask;
      }
    }
    if (rest !== 0n) names.push(`0x${rest.toString(16)}`);
    return names.join('|') || '0';
  };
};

const oneOf = (prefix: string, ...except: string[]): ArgFormat => {
  const known = namesOf(prefix, except);
  return (value) => known().findLast(([, v]) => v === Number(value))?.[0] ?? String(value);
};

const octal: ArgFormat = (value) => `0${value.toString(8)}`;
const dirfd: ArgFormat = (value) => (Number(value) === constants.AT_FDCWD ? 'AT_FDCWD' : String(value));

const MS = flagsOf('MS_');
const CLONE = flagsOf('CLONE_');
const AT = flagsOf('AT_', 'AT_FDCWD');
const O = flagsOf('O_');
const decimal: ArgFormat = String;

/** How the integer arguments of a call are shown; what is not listed is shown in decimal. */
export const formats: Record<string, readonly (ArgFormat | undefined)[]> = {
  mount: [undefined, undefined, undefined, MS],
  umount2: [undefined, flagsOf('MNT_')],
  unshare: [CLONE],
  setns: [undefined, CLONE],
  openat2: [dirfd],
  openat: [dirfd, undefined, O, octal],
  open_tree: [dirfd, undefined, flagsOf('OPEN_TREE_|AT_', 'AT_FDCWD')],
  move_mount: [dirfd, undefined, dirfd, undefined, flagsOf('MOVE_MOUNT_')],
  mount_setattr: [dirfd, undefined, AT],
  fsopen: [undefined, flagsOf('FSOPEN_')],
  fsconfig: [undefined, oneOf('FSCONFIG_')],
  fsmount: [undefined, flagsOf('FSMOUNT_'), flagsOf('MOUNT_ATTR_')],
  mkdirat: [dirfd, undefined, octal],
  mknodat: [dirfd, undefined, octal],
  symlinkat: [undefined, dirfd],
  statx: [dirfd, undefined, AT],
  fchmodat: [dirfd, undefined, octal],
  fchownat: [dirfd, undefined, decimal, decimal, AT],
  prctl: [oneOf('PR_', 'PR_CAP_AMBIENT_RAISE', 'PR_CAP_AMBIENT_CLEAR_ALL')],
  close_range: [undefined, undefined, flagsOf('CLOSE_RANGE_')],
  ioctl: [undefined, oneOf('TIOC|SIOC|NS_')],
  socket: [oneOf('AF_')],
  seccomp: [oneOf('SECCOMP_SET_'), flagsOf('SECCOMP_FILTER_')],
  umask: [octal],
};

/** As strace shortens what may be long: an argument or a variable. */
const shortString = (text: string): string =>
  text.length > 80 ? `${JSON.stringify(text.slice(0, 80))}...` : JSON.stringify(text);

function formatMemory(arg: Memory | Reference): string {
  if (typeof arg === 'string') return JSON.stringify(arg);
  if (arg instanceof Uint8Array) return `[${arg.length} bytes]`;
  if ('strings' in arg)
    return `[${arg.strings.length > 8 ? `${arg.strings.length} strings` : arg.strings.map(shortString).join(', ')}]`;
  if ('struct' in arg) return '{…}';
  if ('resultOf' in arg) return `result of call ${arg.resultOf}`;
  return 'out' in arg ? `[${arg.out} bytes]` : `[${arg.inout.length} bytes]`;
}

/** Which argument is the environment: it may hold secrets, so only its size is shown. */
const environmentAt: Record<string, number> = { execve: 2, execveat: 3 };

export function formatArgument(name: string, arg: Arg, i: number): string {
  if (arg === null) return 'NULL';
  if (i === environmentAt[name] && typeof arg === 'object' && 'strings' in arg)
    return `[/* ${arg.strings.length} vars */]`;
  if (typeof arg !== 'number' && typeof arg !== 'bigint') return formatMemory(arg);
  return (formats[name]?.[i] ?? decimal)(arg);
}

export function formatCall(name: string, args: readonly Arg[]): string {
  return `${name}(${args.map((arg, i) => formatArgument(name, arg, i)).join(', ')})`;
}
