/**
 * Classic BPF as seccomp(2) runs it: the prologue that answers ENOSYS to system calls newer than the profile, and a
 * check of a program read from disk. Pure. Source: seccomp(2), linux/filter.h, linux/seccomp.h, linux/audit.h.
 */

/** One architecture of the filter. Numbers above `last` (for x32: above `lastX32`) are unknown to the profile. */
export interface ArchLimit {
  /** AUDIT_ARCH_*: what the kernel puts in seccomp_data.arch. */
  auditArch: number;
  last: number;
  /** Absent when x32 is not in the filter: libseccomp's own program then decides about its numbers. */
  lastX32?: number;
}

export const AUDIT_ARCH_X86_64 = 0xc000003e;
/** x32 calls carry the architecture of x86-64 and this bit in the number. */
export const X32_SYSCALL_BIT = 0x40000000;
/** BPF_MAXINSNS */
const MAX_INSTRUCTIONS = 4096;
const INSTRUCTION_BYTES = 8;
const SECCOMP_DATA_BYTES = 64;
const NR = 0; // offsets in struct seccomp_data
const ARCH = 4;

const CLASS = 7;
const JMP = 5;
const LD_W_ABS = 0x20;
const JA = 0x05;
const JEQ = 0x15;
const JGT = 0x25;
const JSET = 0x45;
const RET = 0x06;
const RET_ERRNO_ENOSYS = 0x50000 | 38;

/** struct sock_filter: code, jt, jf, k. Jumps count the instructions skipped. */
type Instruction = readonly [code: number, jt: number, jf: number, k: number];

/**
 * The instructions to put in front of libseccomp's. Whatever they do not answer falls into the filter behind them.
 * Programs probe for a new system call and fall back when they see ENOSYS; EPERM they take for a failure.
 */
export function enosysPrologue(limits: readonly ArchLimit[]): Buffer {
  if (limits.length === 0) return Buffer.alloc(0);
  let sections: Instruction[] = [];
  for (const limit of limits.toReversed()) sections = [...section(limit, sections.length), ...sections];
  return encode([[LD_W_ABS, 0, 0, ARCH], ...sections]);
}

/** `behind`: how many instructions of other sections lie between this one and the filter. */
function section(limit: ArchLimit, behind: number): Instruction[] {
  const body: Instruction[] = [
    [LD_W_ABS, 0, 0, NR],
    ...newerThanProfile(limit),
    [RET, 0, 0, RET_ERRNO_ENOSYS],
    [JA, 0, 0, behind],
  ];
  return [[JEQ, 0, body.length, limit.auditArch], ...body];
}

/** Falls through to the next instruction for a number that is too new, skips that instruction for any other. */
function newerThanProfile({ auditArch, last, lastX32 }: ArchLimit): Instruction[] {
  if (auditArch !== AUDIT_ARCH_X86_64) return [[JGT, 0, 1, last]];
  if (lastX32 === undefined)
    return [
      [JSET, 2, 0, X32_SYSCALL_BIT],
      [JGT, 0, 1, last],
    ];
  return [
    [JSET, 1, 0, X32_SYSCALL_BIT],
    [JGT, 1, 2, last],
    [JGT, 0, 1, lastX32],
  ];
}

function encode(instructions: readonly Instruction[]): Buffer {
  const program = Buffer.alloc(instructions.length * INSTRUCTION_BYTES);
  instructions.forEach(([code, jt, jf, k], index) => {
    const at = index * INSTRUCTION_BYTES;
    program.writeUInt16LE(code, at);
    program.writeUInt8(jt, at + 2);
    program.writeUInt8(jf, at + 3);
    program.writeUInt32LE(k, at + 4);
  });
  return program;
}

/**
 * What is wrong with the shape of a program, or undefined: its length, a jump or a load out of range, an open end.
 * Runs at every start: words of a typed array, since Buffer's read methods take twenty times as long.
 */
export function programFault(program: Uint8Array): string | undefined {
  const count = program.length / INSTRUCTION_BYTES;
  if (!Number.isInteger(count) || count < 1) return `${program.length} bytes are no whole instructions`;
  if (count > MAX_INSTRUCTIONS) return `${count} instructions, the kernel takes ${MAX_INSTRUCTIONS}`;
  const words = new Uint32Array(new Uint8Array(program).buffer);
  for (let index = 0; index < count; index++) {
    const operation = words[2 * index]!; // code, jt, jf: 16, 8 and 8 bits
    const k = words[2 * index + 1]!;
    const code = operation & 0xffff;
    const skipped = code === JA ? k : Math.max((operation >>> 16) & 0xff, operation >>> 24);
    if ((code & CLASS) === JMP && index + 1 + skipped >= count) return `the jump at ${index} leaves the program`;
    if (code === LD_W_ABS && (k % 4 !== 0 || k >= SECCOMP_DATA_BYTES))
      return `the load at ${index} misses seccomp_data`;
  }
  return (words[2 * count - 2]! & 0xffff) === RET ? undefined : 'the end is not a return';
}
