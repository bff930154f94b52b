/** A system call with its result as strace prints it: structs by their fields, descriptors with what they lead to. Pure. */
import * as k from '../core/kernel/constants.ts';
import { errnoName } from '../core/kernel/errno.ts';
import { capabilitiesIn, capabilityNames } from '../core/plan/capabilities.ts';
import { resources } from '../core/plan/rlimits.ts';
import { constantsOf, formatArgument, formats } from '../core/stage/format.ts';
import type { Arg } from '../core/stage/protocol.ts';

type Label = (fd: number) => string | undefined;
type Bytes = Uint8Array;

const u64 = (bytes: Bytes, at: number): bigint => new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(at, true);
const u32 = (bytes: Bytes, at: number): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

const named = new Map<string, [name: string, bits: bigint][]>();

function namesOf(prefix: string): [name: string, bits: bigint][] {
  let names = named.get(prefix);
  if (!names) {
    names = constantsOf(prefix).map(([name, bits]) => [name, BigInt(bits)]);
    named.set(prefix, names);
  }
  return names;
}

/** The name of the constant that begins with `prefix` and has this value. */
export function constantName(prefix: string, value: number): string | undefined {
  return namesOf(prefix).find(([, bits]) => bits === BigInt(value))?.[0];
}

/** The names of the constants that begin with `prefix` and whose bits are set. */
export function flagNames(prefix: string, value: bigint, zero = '0'): string {
  const set = namesOf(prefix).filter(([, bits]) => bits > 0n && (value & bits) === bits);
  return set.map(([name]) => name).join('|') || zero;
}

const howText = (how: Bytes): string =>
  `{flags=${flagNames('O_', u64(how, 0), 'O_RDONLY')}, resolve=${flagNames('RESOLVE_', u64(how, 16))}}`;

function attrText(attr: Bytes): string {
  const fields = [
    ['attr_set', flagNames('MOUNT_ATTR_', u64(attr, 0), '')],
    ['attr_clr', flagNames('MOUNT_ATTR_', u64(attr, 8), '')],
    ['propagation', flagNames('MS_', u64(attr, 16), '')],
  ];
  return `{${fields.flatMap(([name, text]) => (text ? `${name}=${text}` : [])).join(', ')}}`;
}

function capText(data: Bytes): string {
  const set = (at: number) => capabilitiesIn(BigInt(u32(data, at)) | (BigInt(u32(data, at + 12)) << 32n));
  const text = (at: number) => (set(at).length > 40 ? 'all' : set(at).join('|') || '0');
  return `{effective=${text(0)}, permitted=${text(4)}, inheritable=${text(8)}}`;
}

const limit = (value: bigint): string => (value === -1n ? 'RLIM64_INFINITY' : String(value));
const gidsText = (list: Bytes): string =>
  `[${Array.from({ length: list.length / 4 }, (_, i) => u32(list, 4 * i)).join(', ')}]`;

/** By call and argument: memory that says more than its length. */
const memory: Record<string, Record<number, (bytes: Bytes) => string>> = {
  openat2: { 2: howText },
  mount_setattr: { 3: attrText },
  capset: { 1: capText },
  setgroups: { 1: gidsText },
  prlimit64: { 2: (bytes) => `{rlim_cur=${limit(u64(bytes, 0))}, rlim_max=${limit(u64(bytes, 8))}}` },
};

/** By call: which arguments are descriptors. */
const descriptors: Record<string, readonly number[]> = {
  ...Object.fromEntries(
    ['close', 'fchdir', 'fsconfig', 'fsmount', 'fstatfs', 'read', 'write', 'ioctl'].map((n) => [n, [0]]),
  ),
  ...Object.fromEntries(
    ['openat2', 'mkdirat', 'mknodat', 'fchownat', 'statx', 'open_tree', 'setns'].map((n) => [n, [0]]),
  ),
  ...{ move_mount: [0, 2], mount_setattr: [0], symlinkat: [1], dup3: [0, 1], execveat: [0] },
};

/** By call and argument: numbers that say more than core/stage/format.ts makes of them. */
const numbers: Record<string, Record<number, (value: number) => string>> = {
  prlimit64: { 1: (value) => resources[value] ?? `${value}` },
  mknodat: { 2: modeText, 3: (value) => `makedev(${major(value)}, ${minor(value)})` },
};

/** What the second argument is depends on the first. */
function prctlValue(value: number, option: Arg): string {
  if (option === k.PR_CAPBSET_DROP) return capabilityNames[value] ?? String(value);
  if (option === k.PR_CAP_AMBIENT) return ambient[value] ?? String(value);
  return String(value);
}

const ambient: Record<number, string> = {
  [k.PR_CAP_AMBIENT_RAISE]: 'PR_CAP_AMBIENT_RAISE',
  [k.PR_CAP_AMBIENT_CLEAR_ALL]: 'PR_CAP_AMBIENT_CLEAR_ALL',
};

const fileTypes = [k.S_IFREG, k.S_IFCHR, k.S_IFBLK, k.S_IFIFO];
const typeNames = ['S_IFREG', 'S_IFCHR', 'S_IFBLK', 'S_IFIFO'];

function modeText(mode: number): string {
  const type = typeNames[fileTypes.indexOf(mode & k.S_IFMT)];
  const permissions = `0${(mode & 0o7777).toString(8)}`;
  return type ? `${type}|${permissions}` : permissions;
}

/** Source: makedev(3). */
const major = (device: number): number => (device >> 8) & 0xfff;
const minor = (device: number): number => (device & 0xff) | ((device >> 12) & 0xfff00);

type Show = (arg: Arg, args: readonly Arg[]) => string;

/** A trace is made while a container starts, by code that runs cold: what was shown once is remembered. */
function remembering(show: (value: number) => string): Show {
  const texts = new Map<Arg, string>();
  return (arg) => {
    let text = texts.get(arg);
    if (text === undefined) {
      text = typeof arg === 'number' ? show(arg) : String(arg);
      texts.set(arg, text);
    }
    return text;
  };
}

/** The same for memory of a few bytes. */
function rememberingBytes(name: string, index: number, decode: (bytes: Bytes) => string): Show {
  const texts = new Map<string, string>();
  return (arg) => {
    if (!(arg instanceof Uint8Array)) return formatArgument(name, arg, index);
    if (arg.length > 64) return decode(arg);
    const key = String.fromCharCode.apply(null, arg as unknown as number[]);
    let text = texts.get(key);
    if (text === undefined) {
      text = decode(arg);
      texts.set(key, text);
    }
    return text;
  };
}

/** By call, made when it is first shown. Nothing for an argument that is a plain number, a string, or memory in short. */
const shows: Record<string, (Show | undefined)[]> = Object.create(null);

function showsOf(name: string): (Show | undefined)[] {
  return Array.from({ length: 6 }, (_, index) => {
    const decode = memory[name]?.[index];
    if (decode) return rememberingBytes(name, index, decode);
    if (name === 'prctl' && index === 1) return (arg, args) => prctlValue(Number(arg), args[0]!);
    const number = numbers[name]?.[index] ?? formats[name]?.[index];
    return number && remembering(number);
  });
}

/** A call without its result; `label` says what a descriptor leads to. */
export function straceCall(name: string, args: readonly Arg[], label?: Label): string {
  shows[name] ??= showsOf(name);
  const own = shows[name];
  let text = `${name}(`;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (i > 0) text += ', ';
    if (typeof arg === 'string') text += JSON.stringify(arg);
    else if (label && typeof arg === 'number' && arg >= 0 && descriptors[name]?.includes(i))
      text += `${arg}<${label(arg) ?? '?'}>`;
    else if (own[i] !== undefined && arg !== null) text += own[i]!(arg, args);
    else text += typeof arg === 'number' ? arg : formatArgument(name, arg, i);
  }
  return `${text})`;
}

/** ` = 0`, ` = -1 ENOENT`, ` = ?` where nobody knows. */
export function straceResult(result: number | null | undefined): string {
  if (result === null || result === undefined) return ' = ?';
  return result < 0 ? ` = -1 ${errnoName(-result)}` : ` = ${result}`;
}
