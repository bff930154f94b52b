/** Prints a system call the way strace does: flags by name, memory in short. Pure. */
import * as constants from '../kernel/constants.ts';
import type { Arg, Memory, Reference } from './protocol.ts';

type ArgFormat = (value: number | bigint) => string;

/** `prefix` may be several, separated by `|`. */
const startsWithAny = (name: string, prefix: string): boolean => prefix.split('|').some((p) => name.startsWith(p));

const flagsOf = (prefix: string, ...except: string[]): ArgFormat => {
  const known = Object.entries(constants).filter(
    ([name, v]) => startsWithAny(name, prefix) && v !== 0 && !except.includes(name),
  );
  return (value) => {
    let rest = BigInt(value);
    const names: string[] = [];
    for (const [name, bits] of known) {
      const mask = BigInt(bits as number);
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
  const names = new Map(
    Object.entries(constants)
      .filter(([name]) => startsWithAny(name, prefix) && !except.includes(name))
      .map(([name, v]) => [Number(v), name]),
  );
  return (value) => names.get(Number(value)) ?? String(value);
};

const octal: ArgFormat = (value) => `0${value.toString(8)}`;
const dirfd: ArgFormat = (value) => (Number(value) === constants.AT_FDCWD ? 'AT_FDCWD' : String(value));
const lazily = (make: () => ArgFormat): ArgFormat => {
  let made: ArgFormat | undefined;
  return (value) => {
    made ??= make();
    return made(value);
  };
};

const MS = lazily(() => flagsOf('MS_'));
const CLONE = lazily(() => flagsOf('CLONE_'));
const AT = lazily(() => flagsOf('AT_', 'AT_FDCWD'));
const O = lazily(() => flagsOf('O_'));
const decimal: ArgFormat = String;

/** How the integer arguments of a call are shown; what is not listed is shown in decimal. */
const formats: Record<string, readonly (ArgFormat | undefined)[]> = {
  mount: [undefined, undefined, undefined, MS],
  umount2: [undefined, lazily(() => flagsOf('MNT_'))],
  unshare: [CLONE],
  setns: [undefined, CLONE],
  openat2: [dirfd],
  openat: [dirfd, undefined, O, octal],
  open_tree: [dirfd, undefined, lazily(() => flagsOf('OPEN_TREE_|AT_', 'AT_FDCWD'))],
  move_mount: [dirfd, undefined, dirfd, undefined, lazily(() => flagsOf('MOVE_MOUNT_'))],
  mount_setattr: [dirfd, undefined, AT],
  fsopen: [undefined, lazily(() => flagsOf('FSOPEN_'))],
  fsconfig: [undefined, lazily(() => oneOf('FSCONFIG_'))],
  fsmount: [undefined, lazily(() => flagsOf('FSMOUNT_')), lazily(() => flagsOf('MOUNT_ATTR_'))],
  mkdirat: [dirfd, undefined, octal],
  mknodat: [dirfd, undefined, octal],
  symlinkat: [undefined, dirfd],
  statx: [dirfd, undefined, AT],
  fchmod: [undefined, octal],
  fchmodat: [dirfd, undefined, octal],
  fchownat: [dirfd, undefined, decimal, decimal, AT],
  prctl: [lazily(() => oneOf('PR_', 'PR_CAP_AMBIENT_RAISE', 'PR_CAP_AMBIENT_CLEAR_ALL'))],
  close_range: [undefined, undefined, lazily(() => flagsOf('CLOSE_RANGE_'))],
  ioctl: [undefined, lazily(() => oneOf('TIOC|SIOC|NS_'))],
  socket: [lazily(() => oneOf('AF_'))],
  seccomp: [lazily(() => oneOf('SECCOMP_SET_')), lazily(() => flagsOf('SECCOMP_FILTER_'))],
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

export function formatCall(name: string, args: readonly Arg[]): string {
  const shown = args.map((arg, i) => {
    if (arg === null) return 'NULL';
    if (i === environmentAt[name] && typeof arg === 'object' && 'strings' in arg)
      return `[/* ${arg.strings.length} vars */]`;
    if (typeof arg !== 'number' && typeof arg !== 'bigint') return formatMemory(arg);
    return (formats[name]?.[i] ?? decimal)(arg);
  });
  return `${name}(${shown.join(', ')})`;
}
