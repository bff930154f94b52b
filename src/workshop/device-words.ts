/**
 * The eBPF program of a cgroup's device rules for people, read back from its instructions: what the kernel was given, not what
 * was asked for. Pure. Source: the kernel's bpf/standardization/instruction-set.rst; src/core/plan/device-rules.ts makes it.
 */

const names: Record<string, string> = {
  '1:3': '/dev/null',
  '1:5': '/dev/zero',
  '1:7': '/dev/full',
  '1:8': '/dev/random',
  '1:9': '/dev/urandom',
  '5:0': '/dev/tty',
  '5:1': '/dev/console',
  '5:2': '/dev/ptmx',
  '136:*': '/dev/pts/*',
};

/** BPF_DEVCG_DEV_BLOCK and _CHAR, BPF_DEVCG_ACC_READ and so on. */
const kinds: Record<number, string> = { 1: 'block ', 2: 'character ' };
const CHARACTER = 2;
const accesses = { read: 2, write: 4, mknod: 1 };
const ALL_ACCESSES = 7;

const JNE = 0x55; // JMP|JNE|K
const AND = 0x54; // ALU|AND|K
/** What the registers hold. */
const [RESULT, TYPE, ACCESS, MAJOR, MINOR] = [0, 2, 3, 4, 5];

/** One line for each rule: the last that names a device and an access decides, what none names is denied. */
export function deviceProgramInWords(program: Uint8Array): string[] {
  const view = new DataView(program.buffer, program.byteOffset, program.length);
  const lines: string[] = [];
  let compared = new Map<number, number>(); // register to value: what a device is held against before its accesses are
  for (let at = 0; at < program.length; at += 8) {
    const [code, register, value] = [view.getUint8(at), view.getUint8(at + 1) & 15, view.getInt32(at + 4, true)];
    if (code === JNE && register !== ACCESS) compared.set(register, value);
    if (code !== AND || (register !== ACCESS && register !== RESULT)) continue;
    const allow = register === ACCESS; // takes away what is allowed, where a denial looks for what is denied
    lines.push(ruleInWords(allow, compared, allow ? ALL_ACCESSES & ~value : value));
    compared = new Map();
  }
  return lines.reverse(); // the program asks the last rule first
}

function ruleInWords(allow: boolean, compared: ReadonlyMap<number, number>, access: number): string {
  const type = compared.get(TYPE);
  const numbers = `${compared.get(MAJOR) ?? '*'}:${compared.get(MINOR) ?? '*'}`;
  const name = type === CHARACTER ? names[numbers] : undefined;
  const kind = kinds[type ?? 0] ?? '';
  const which = numbers === '*:*' ? `any ${kind}device` : `${kind}device ${numbers}${name ? ` (${name})` : ''}`;
  const what = Object.entries(accesses).filter(([, bit]) => access & bit);
  return `${allow ? 'allow' : 'deny'} ${what.map(([word]) => word).join(', ')}: ${which}`;
}
