/**
 * Reads `linux.seccomp` into the numbers of libseccomp and the kernel. Pure.
 * Source: config-linux.md of the runtime-spec, seccomp(2), seccomp_rule_add(3).
 */
import {
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_TSYNC,
} from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { Seccomp, SeccompArg, SeccompSyscall } from '../spec/types.ts';

/** SECCOMP_RET_* of linux/seccomp.h by their names in OCI. SCMP_ACT_KILL is the thread, as libseccomp has it. */
export const seccompActions: Readonly<Record<string, number>> = {
  SCMP_ACT_ALLOW: 0x7fff0000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
};

/** enum scmp_compare */
export const seccompOperators: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

export const seccompFlags: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC,
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 0x20,
};
const SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 0x10;

/** Source: config-linux.md, architectures. */
export const architectureNames: readonly string[] = [
  ...['X86', 'X86_64', 'X32', 'ARM', 'AARCH64', 'LOONGARCH64', 'M68K', 'MIPS', 'MIPS64', 'MIPS64N32', 'MIPSEL'],
  ...[
    'MIPSEL64',
    'MIPSEL64N32',
    'PPC',
    'PPC64',
    'PPC64LE',
    'RISCV64',
    'S390',
    'S390X',
    'PARISC',
    'PARISC64',
    'SH',
    'SHEB',
  ],
].map((name) => `SCMP_ARCH_${name}`);

/** sizeof(struct scmp_arg_cmp) */
export const SCMP_ARG_CMP_BYTES = 24;
/** What the stage sends the listener by. */
const HANDS_ON = 'sendmsg';
const EPERM = 1;
const ENOSYS = 38;

/** What one seccomp_rule_add_array says. */
export interface Rule {
  name: string;
  action: number;
  /** Packed struct scmp_arg_cmp[], all of which must hold; empty for any arguments. */
  conditions: Buffer;
}

/** Whether a rule hands calls to an agent. */
export function notifies(seccomp: Seccomp | undefined): seccomp is Seccomp {
  return (seccomp?.syscalls ?? []).some(({ action }) => action === 'SCMP_ACT_NOTIFY');
}

/** The flags argument of seccomp(2): the names in `linux.seccomp.flags`, and what goes with a listener, or not without one. */
export function seccompLoadFlags(seccomp: Seccomp): number {
  const given = (seccomp.flags ?? []).reduce((bits, flag, i) => bits | lookUp(seccompFlags, flag, `/flags/${i}`), 0);
  // EINVAL otherwise; how to wait for an agent means nothing without one.
  if (!notifies(seccomp)) return given & ~seccompFlags.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV!;
  const synced = given & SECCOMP_FILTER_FLAG_TSYNC ? SECCOMP_FILTER_FLAG_TSYNC_ESRCH : 0;
  return given | SECCOMP_FILTER_FLAG_NEW_LISTENER | synced;
}

/**
 * What no agent could make good: a rule that nobody answers, and calls that the container's process makes on the way to its
 * program before the agent has the listener. Source: config-linux.md, Seccomp; seccomp_unotify(2).
 */
export function notifyFaults(seccomp: Seccomp): { pointer: string; problem: string }[] {
  const { defaultAction, syscalls = [], listenerPath, listenerMetadata } = seccomp;
  const faults: [pointer: string, problem: string][] = [];
  if (defaultAction === 'SCMP_ACT_NOTIFY')
    faults.push(['/defaultAction', 'is SCMP_ACT_NOTIFY: the call that hands the listener on would wait for itself']);
  for (const [i, { action, names }] of syscalls.entries())
    if (action === 'SCMP_ACT_NOTIFY' && names.includes(HANDS_ON))
      faults.push([
        `/syscalls/${i}/names/${names.indexOf(HANDS_ON)}`,
        `is ${HANDS_ON} with SCMP_ACT_NOTIFY: by that call the listener is handed on, so nobody could answer it`,
      ]);
  if (notifies(seccomp) && !listenerPath)
    faults.push(['/listenerPath', 'is missing: SCMP_ACT_NOTIFY needs the socket of an agent that answers']);
  if (listenerMetadata && !listenerPath) faults.push(['/listenerMetadata', 'is for the agent at listenerPath: none']);
  return faults.map(([pointer, problem]) => ({ pointer: `/linux/seccomp${pointer}`, problem }));
}

/** Whether a system call newer than the profile would be refused, and not with ENOSYS already. */
export function refusesUnknown(defaultAction: string, defaultErrnoRet: number | undefined): boolean {
  if (defaultAction === 'SCMP_ACT_ERRNO') return defaultErrnoRet !== ENOSYS;
  return !['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE'].includes(defaultAction); // a tracer knows what it does
}

/** The field at fault is part of the message and of the error. */
export function fault(pointer: string, problem: string): ContainerError {
  const specPointer = `/linux/seccomp${pointer}`;
  return new ContainerError(`${specPointer} ${problem}`, { specPointer });
}

function lookUp(table: Readonly<Record<string, number>>, name: string, pointer: string): number {
  if (Object.hasOwn(table, name)) return table[name]!;
  throw fault(pointer, `is ${JSON.stringify(name)}; allowed are ${Object.keys(table).join(', ')}`);
}

/** An action with the 16 bits that some of them carry. */
function withData(action: string, data: number): number {
  return (seccompActions[action]! | data) >>> 0;
}

/** `at` points at the action, `errnoAt` at the errno that goes with it. EPERM unless said otherwise, as runc and crun do. */
export function parseAction(action: string, errnoRet: number | undefined, at: string, errnoAt: string): number {
  lookUp(seccompActions, action, at);
  const largest = { SCMP_ACT_ERRNO: 4095, SCMP_ACT_TRACE: 0xffff }[action];
  if (largest === undefined) {
    if (errnoRet !== undefined) throw fault(errnoAt, `is ${errnoRet}, but ${action} returns no errno`);
    return withData(action, 0);
  }
  const data = errnoRet ?? EPERM;
  if (!Number.isInteger(data) || data < 0 || data > largest)
    throw fault(errnoAt, `is ${data}; allowed are 0 to ${largest}`);
  return withData(action, data);
}

/** One rule per name, and per alternative among its comparisons. */
export function parseRules(entry: SeccompSyscall, at: string): Rule[] {
  const action = parseAction(entry.action, entry.errnoRet, `${at}/action`, `${at}/errnoRet`);
  const comparisons = (entry.args ?? []).map((arg, index) => packComparison(arg, `${at}/args/${index}`));
  // libseccomp takes one comparison per argument; runc reads two on the same argument as alternatives, and so do we
  const repeated = new Set(entry.args?.map((arg) => arg.index)).size < comparisons.length;
  const alternatives = repeated ? comparisons : [Buffer.concat(comparisons)];
  return entry.names.flatMap((name, index) => {
    if (!/^\w+$/.test(name))
      throw fault(`${at}/names/${index}`, `is ${JSON.stringify(name)}, which names no system call`);
    return alternatives.map((conditions) => ({ name, action, conditions }));
  });
}

/** struct scmp_arg_cmp { unsigned int arg; enum scmp_compare op; uint64_t datum_a, datum_b; } */
function packComparison(arg: SeccompArg, at: string): Buffer {
  if (!Number.isInteger(arg.index) || arg.index < 0 || arg.index > 5)
    throw fault(`${at}/index`, `is ${arg.index}; allowed are 0 to 5`);
  const packed = Buffer.alloc(SCMP_ARG_CMP_BYTES);
  packed.writeUInt32LE(arg.index, 0);
  packed.writeUInt32LE(lookUp(seccompOperators, arg.op, `${at}/op`), 4);
  packed.writeBigUInt64LE(parseValue(arg.value, `${at}/value`), 8);
  packed.writeBigUInt64LE(parseValue(arg.valueTwo ?? 0, `${at}/valueTwo`), 16);
  return packed;
}

/** Beyond 2^53 only a bigint is exact; a number there has lost bits while the JSON was read. */
function parseValue(value: number | bigint, pointer: string): bigint {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw fault(pointer, `is ${value}; allowed are whole numbers up to 2^53 - 1`);
  const exact = BigInt(value);
  if (exact < 0n || exact >= 1n << 64n) throw fault(pointer, `is ${value}; allowed are 0 to 2^64 - 1`);
  return exact;
}
