/** Runs a seccomp program as the kernel would, on made-up calls: what the classic BPF of libseccomp consists of, no more. */

export interface Call {
  nr: number;
  /** AUDIT_ARCH_*; x86-64 unless given. */
  arch?: number;
  args?: readonly (number | bigint)[];
}

export const ARCH = { x64: 0xc000003e, i386: 0x40000003, arm64: 0xc00000b7, arm: 0x40000028 } as const;

/** SECCOMP_RET_* in words: "allow", "errno 38", … */
export function verdict(program: Uint8Array, call: Call): string {
  const result = evaluate(program, call);
  const data = result & 0xffff;
  const names = new Map([
    [0x7fff0000, 'allow'],
    [0x7ffc0000, 'log'],
    [0x7ff00000, `trace ${data}`],
    [0x00050000, `errno ${data}`],
    [0x00030000, 'trap'],
    [0x80000000, 'kill process'],
    [0, 'kill thread'],
  ]);
  return names.get((result & 0xffff0000) >>> 0) ?? `0x${result.toString(16)}`;
}

function evaluate(program: Uint8Array, { nr, arch = ARCH.x64, args = [] }: Call): number {
  const data = Buffer.alloc(64); // struct seccomp_data
  data.writeUInt32LE(nr >>> 0, 0);
  data.writeUInt32LE(arch, 4);
  for (const [index, arg] of args.entries()) data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(arg)), 16 + 8 * index);
  const code = Buffer.from(program);
  let accumulator = 0;
  for (let at = 0; at < code.length; at += 8) {
    const k = code.readUInt32LE(at + 4);
    const jump = (taken: boolean) => 8 * code[at + (taken ? 2 : 3)]!;
    switch (code.readUInt16LE(at)) {
      case 0x20: // ld [k]
        accumulator = data.readUInt32LE(k);
        break;
      case 0x54: // and #k
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x05: // ja k
        at += 8 * k;
        break;
      case 0x15:
        at += jump(accumulator === k);
        break;
      case 0x25:
        at += jump(accumulator > k);
        break;
      case 0x35:
        at += jump(accumulator >= k);
        break;
      case 0x45: // jset
        at += jump((accumulator & k) !== 0);
        break;
      case 0x06: // ret #k
        return k;
      default:
        throw new Error(`instruction ${at / 8} has the code 0x${code.readUInt16LE(at).toString(16)}`);
    }
  }
  throw new Error('ran off the end of the program');
}
