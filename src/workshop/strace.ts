/** A system call with its result as strace prints it: structs by their fields, descriptors with what they lead to. Pure. */
import * as k from '../core/kernel/constants.ts';
import { errnoName } from '../core/kernel/errno.ts';
import { capabilitiesIn } from '../core/plan/capabilities.ts';
import { formatCall } from '../core/stage/format.ts';
import type { Arg } from '../core/stage/protocol.ts';

type Label = (fd: number) => string | undefined;
type Bytes = Uint8Array;

const u64 = (bytes: Bytes, at: number): bigint => new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(at, true);
const u32 = (bytes: Bytes, at: number): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

const named = new Map<string, [name: string, bits: bigint][]>();

function namesOf(prefix: string): [name: string, bits: bigint][] {
  const known = named.get(prefix);
  if (known) return known;
  const all = Object.entries(k).filter(([name, bits]) => name.startsWith(prefix) && Number(bits) > 0);
  const names = all.map(([name, bits]): [string, bigint] => [name, BigInt(bits)]);
  named.set(prefix, names);
  return names;
}

function flags(prefix: string, value: bigint, zero = '0'): string {
  const set = namesOf(prefix).filter(([, bits]) => (value & bits) === bits);
  return set.map(([name]) => name).join('|') || zero;
}

const howText = (how: Bytes): string =>
  `{flags=${flags('O_', u64(how, 0), 'O_RDONLY')}, resolve=${flags('RESOLVE_', u64(how, 16))}}`;

function attrText(attr: Bytes): string {
  const fields = [
    ['attr_set', flags('MOUNT_ATTR_', u64(attr, 0), '')],
    ['attr_clr', flags('MOUNT_ATTR_', u64(attr, 8), '')],
    ['propagation', flags('MS_', u64(attr, 16), '')],
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

function argument(name: string, args: readonly Arg[], index: number, label: Label | undefined): string {
  const arg = args[index]!;
  if (arg instanceof Uint8Array && memory[name]?.[index]) return memory[name][index](arg);
  if (label && typeof arg === 'number' && arg >= 0 && descriptors[name]?.includes(index))
    return `${arg}<${label(arg) ?? '?'}>`;
  const before = args.slice(0, index).map(() => null);
  return formatCall(name, [...before, arg]).slice(name.length + 1 + 'NULL, '.length * index, -1);
}

/** A call without its result; `label` says what a descriptor leads to. */
export function straceCall(name: string, args: readonly Arg[], label?: Label): string {
  return `${name}(${args.map((_, index) => argument(name, args, index, label)).join(', ')})`;
}

export function strace(name: string, args: readonly Arg[], result: number, label: Label): string {
  const makesFd = ['openat2', 'open_tree', 'fsopen', 'fsmount', 'socket'].includes(name) && result >= 0;
  const end = result < 0 ? `-1 ${errnoName(-result)}` : `${result}${makesFd ? `<${label(result)}>` : ''}`;
  return `${straceCall(name, args, label)} = ${end}`;
}
