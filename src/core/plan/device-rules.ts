/**
 * The device rules of the spec as an eBPF program, which the kernel asks at every open and mknod of a device node in
 * the cgroup. Pure. Source: runtime-spec config-linux.md "Allowed Device list", struct bpf_insn and
 * struct bpf_cgroup_dev_ctx of linux/bpf.h, the kernel's bpf/standardization/instruction-set.rst.
 */
import { ContainerError } from '../kernel/error.ts';
import type { Resources } from '../spec/types.ts';

export type DeviceRule = NonNullable<Resources['devices']>[number];

/** A rule in the kernel's numbers; undefined is any. `access` is never 0. */
interface Rule {
  allow: boolean;
  type: number | undefined;
  major: number | undefined;
  minor: number | undefined;
  access: number;
}

/** BPF_DEVCG_DEV_BLOCK and _CHAR. */
const types: Record<string, number | undefined> = { a: undefined, b: 1, c: 2 };
/** BPF_DEVCG_ACC_MKNOD, _READ and _WRITE. */
const accesses: Record<string, number> = { m: 1, r: 2, w: 4 };
const ALL_ACCESSES = 7;
/** dev_t inside the kernel has 12 bits of major and 20 of minor: MINORBITS of linux/kdev_t.h. */
const largest = { major: 0xfff, minor: 0xfffff };

/** null, zero, full, random, urandom; tty, console, ptmx; all below /dev/pts. */
const ownDevices = ['1:3', '1:5', '1:7', '1:8', '1:9', '5:0', '5:1', '5:2', '136:*'];

/**
 * What every container may do, the same as with runc 1.3: use its own devices, and make any node. A node harms nobody
 * as long as it can't be opened, and image builds make them. A runtime puts these behind the rules of the spec.
 */
export const defaultDeviceRules: readonly DeviceRule[] = [
  ...['c', 'b'].map((type) => ({ allow: true, type, access: 'm' })),
  ...ownDevices.map((numbers) => {
    const [major, minor] = numbers.split(':').map((text) => (text === '*' ? -1 : Number(text))) as [number, number];
    return { allow: true, type: 'c', major, minor, access: 'rwm' };
  }),
];

function fault(index: number, field: string, found: unknown, allowed: string): ContainerError {
  return new ContainerError(
    `${field} of a device rule is ${JSON.stringify(found) ?? 'missing'}; it must be ${allowed}`,
    {
      specPointer: `/linux/resources/devices/${index}/${field}`,
    },
  );
}

function readNumber(rule: DeviceRule, field: 'major' | 'minor', index: number): number | undefined {
  const { [field]: value = -1 } = rule;
  if (!Number.isInteger(value) || value < -1 || value > largest[field])
    throw fault(index, field, value, `0 to ${largest[field]}, or -1 for any`);
  return value === -1 ? undefined : value;
}

/** A rule for type a counts as it is written, with its numbers and its access (runc would take it for everything). */
function readRule(rule: DeviceRule, index: number): Rule {
  const { allow, type = 'a', access = '' } = rule;
  if (typeof allow !== 'boolean') throw fault(index, 'allow', allow, 'true or false');
  if (!Object.hasOwn(types, type)) throw fault(index, 'type', type, 'a (any), b (block) or c (character)');
  const letters = typeof access === 'string' ? [...access] : [];
  if (letters.length === 0 || letters.some((letter) => !Object.hasOwn(accesses, letter)))
    throw fault(index, 'access', rule.access, 'made of r, w and m');
  return {
    allow,
    type: types[type],
    major: readNumber(rule, 'major', index),
    minor: readNumber(rule, 'minor', index),
    access: letters.reduce((bits, letter) => bits | accesses[letter]!, 0),
  };
}

const isForEverything = ({ type, major, minor, access }: Rule): boolean =>
  type === undefined && major === undefined && minor === undefined && access === ALL_ACCESSES;

/** struct bpf_insn: code, dst_reg (low half) and src_reg (high half), off, imm. Jumps count the instructions skipped. */
type Instruction = readonly [code: number, registers: number, off: number, imm: number];

const RESULT = 0; // r0: not 0 allows
const CONTEXT = 1; // r1: struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }
const TYPE = 2;
const ACCESS = 3; // the accesses asked for, of which no rule has decided yet
const MAJOR = 4;
const MINOR = 5;

const ldx = (dst: number, offset: number): Instruction => [0x61, (CONTEXT << 4) | dst, offset, 0]; // LDX|W|MEM
const and = (dst: number, bits: number): Instruction => [0x54, dst, 0, bits]; // ALU|AND|K
const rsh = (dst: number, bits: number): Instruction => [0x74, dst, 0, bits]; // ALU|RSH|K
const mov = (dst: number, value: number): Instruction => [0xb4, dst, 0, value]; // ALU|MOV|K
const copy = (dst: number, src: number): Instruction => [0xbc, (src << 4) | dst, 0, 0]; // ALU|MOV|X
const jeq = (dst: number, value: number, skipped: number): Instruction => [0x15, dst, skipped, value]; // JMP|JEQ|K
const jne = (dst: number, value: number, skipped: number): Instruction => [0x55, dst, skipped, value]; // JMP|JNE|K
const exit: Instruction = [0x95, 0, 0, 0]; // JMP|EXIT

const prologue = [
  ...[ldx(TYPE, 0), and(TYPE, 0xffff)], // the low half of access_type
  ...[ldx(ACCESS, 0), rsh(ACCESS, 16)], // the high half
  ...[ldx(MAJOR, 4), ldx(MINOR, 8)],
];

/** Ends the program if this rule decides; else, behind it, ACCESS is what is left to decide. */
function assemble({ allow, type, major, minor, access }: Rule): Instruction[] {
  const block = allow
    ? [and(ACCESS, ALL_ACCESSES & ~access), jne(ACCESS, 0, 2), mov(RESULT, 1), exit]
    : [copy(RESULT, ACCESS), and(RESULT, access), jeq(RESULT, 0, 2), mov(RESULT, 0), exit];
  if (minor !== undefined) block.unshift(jne(MINOR, minor, block.length));
  if (major !== undefined) block.unshift(jne(MAJOR, major, block.length));
  if (type !== undefined) block.unshift(jne(TYPE, type, block.length));
  return block;
}

/**
 * The program, for host/device-filter.ts. The last rule that names the device and the access decides, for reading,
 * writing and mknod each by itself; what no rule names is denied. Undefined if everything is allowed: then there is
 * nothing to ask. @throws ContainerError with the JSON pointer of a field that can't be.
 */
export function deviceProgram(rules: readonly DeviceRule[]): Uint8Array | undefined {
  const all = rules.map(readRule);
  const counting = all.slice(Math.max(all.findLastIndex(isForEverything), 0));
  if (counting[0] && isForEverything(counting[0]) && counting.every(({ allow }) => allow)) return undefined;
  const program = [...prologue, ...counting.toReversed().flatMap(assemble), mov(RESULT, 0), exit];
  const bytes = new Uint8Array(8 * program.length);
  const view = new DataView(bytes.buffer);
  for (const [index, [code, registers, off, imm]] of program.entries()) {
    view.setUint8(8 * index, code); // code
    view.setUint8(8 * index + 1, registers); // dst_reg, src_reg
    view.setInt16(8 * index + 2, off, true); // off
    view.setInt32(8 * index + 4, imm, true); // imm
  }
  return bytes;
}
