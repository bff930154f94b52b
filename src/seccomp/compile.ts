/**
 * Compiles `linux.seccomp` to the BPF program that the stage loads: libseccomp, called through ffi-rs, builds it; a
 * prologue of ours answers ENOSYS for what is newer than the profile. Host side.
 * Source: config-linux.md of the runtime-spec, seccomp_rule_add(3), seccomp_export_bpf(3).
 */
import { closeSync, fstatSync, readSync, statSync } from 'node:fs';
import { type CValue, callC, openLibrary } from '../core/host/ffi.ts';
import { syscall } from '../core/host/syscall.ts';
import { MFD_CLOEXEC } from '../core/kernel/constants.ts';
import { errnoName } from '../core/kernel/errno.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { Seccomp } from '../spec/types.ts';
import { type ArchLimit, AUDIT_ARCH_X86_64, enosysPrologue, programFault } from './bpf.ts';
import {
  architectureNames,
  fault,
  parseAction,
  parseRules,
  type Rule,
  refusesUnknown,
  SCMP_ARG_CMP_BYTES,
  seccompLoadFlags,
} from './rules.ts';

export interface CompiledFilter {
  /** struct sock_filter[], at most 4096 of 8 bytes. */
  program: Buffer;
  /** The flags argument of seccomp(2). */
  loadFlags: number;
  /** System calls of the profile that this libseccomp has never heard of: no rule stands for them. */
  skipped: string[];
}

const LIBRARY = 'libseccomp';
const EEXIST = 17;
const UNKNOWN_SYSCALL = -1; // __NR_SCMP_ERROR
const SCMP_ARCH_X32 = 0x4000003e;
const SCMP_FLTATR_CTL_OPTIMIZE = 8;
const BINARY_TREE = 2;
/** From here on a binary tree, 40 ns a call where a chain takes 150. libseccomp 2.5.4 goes wrong on a tree of no rules. */
const MANY_RULES = 32;

/** Throws a ContainerError that points at the field for a profile that can't be honoured as it stands. */
export function compileFilter(seccomp: Seccomp): CompiledFilter {
  const { defaultErrnoRet, architectures = [], syscalls = [] } = seccomp;
  const defaultAction = parseAction(seccomp.defaultAction, defaultErrnoRet, '/defaultAction', '/defaultErrnoRet');
  const loadFlags = seccompLoadFlags(seccomp);
  const rules = syscalls.flatMap((entry, index) => parseRules(entry, `/syscalls/${index}`));
  openLibseccomp();
  const context = callC(LIBRARY, 'seccomp_init', [defaultAction]);
  if (context === 0) throw new ContainerError('libseccomp cannot start a filter: seccomp_init returned NULL');
  try {
    const tokens = addArchitectures(context, architectures);
    if (rules.length > MANY_RULES) scmp('seccomp_attr_set', [context, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE]);
    const skipped = addRules(context, defaultAction, rules);
    const limits = refusesUnknown(seccomp.defaultAction, defaultErrnoRet) ? findLimits(tokens, rules) : [];
    const program = Buffer.concat([enosysPrologue(limits), exportProgram(context)]);
    const problem = programFault(program);
    if (problem !== undefined) throw fault('', `compiles to a program that cannot be loaded: ${problem}`);
    return { program, loadFlags, skipped };
  } finally {
    callC(LIBRARY, 'seccomp_release', [context]);
  }
}

/**
 * Which libseccomp this is: path, inode, size and time of its file. The version says too little: distributions teach the
 * same version new system calls. dladdr(3) and strncpy(3) are found through libseccomp's own dependency on the C library.
 */
export function libseccompIdentity(): string {
  openLibseccomp();
  const info = new BigUint64Array(4); // Dl_info: the first field points at the path
  callC(LIBRARY, 'dladdr', [callC(LIBRARY, 'seccomp_version', []), new Uint8Array(info.buffer)]);
  const text = Buffer.alloc(4096);
  callC(LIBRARY, 'strncpy', [text, Number(info[0]), text.length - 1]);
  const path = text.toString('utf8', 0, text.indexOf(0));
  const { ino, size, mtimeMs } = statSync(path);
  return [path, ino, size, mtimeMs].join(' ');
}

/** MAJOR.MINOR.MICRO; undefined where there is none. memcpy(3) is found through its dependency on the C library. */
export function libseccompVersion(): string | undefined {
  try {
    openLibseccomp();
  } catch {
    return undefined;
  }
  const numbers = Buffer.alloc(12); // struct scmp_version { unsigned int major, minor, micro }
  callC(LIBRARY, 'memcpy', [numbers, callC(LIBRARY, 'seccomp_version', []), numbers.length]);
  return [0, 4, 8].map((at) => numbers.readUInt32LE(at)).join('.');
}

/** OCI's names of the architectures that this libseccomp knows. */
export function knownArchitectures(): string[] {
  return architectureNames.filter((name) => resolveArchitecture(name) !== 0);
}

function openLibseccomp(): void {
  try {
    openLibrary(LIBRARY, 'libseccomp.so.2');
  } catch (cause) {
    throw new ContainerError(
      "libseccomp.so.2 cannot be loaded, and without it there is no seccomp filter: install Debian's package libseccomp2",
      { cause },
    );
  }
}

/** A function of libseccomp that returns an int: 0, a positive number, or -errno. The upper half of the register is noise. */
function scmp(funcName: string, args: readonly CValue[]): number {
  return callC(LIBRARY, funcName, args) | 0;
}

/** Adds what the profile names to the native architecture, which is always in. Returns libseccomp's tokens, native first. */
function addArchitectures(context: number, names: readonly string[]): number[] {
  const tokens = new Set([callC(LIBRARY, 'seccomp_arch_native', []) >>> 0]);
  names.forEach((name, index) => {
    if (name === 'SCMP_ARCH_NATIVE') return;
    const token = resolveArchitecture(name);
    if (token === 0)
      throw fault(`/architectures/${index}`, `is ${JSON.stringify(name)}, which this libseccomp does not know`);
    const result = scmp('seccomp_arch_add', [context, token]);
    if (result < 0 && result !== -EEXIST)
      throw fault(`/architectures/${index}`, `is ${name}: seccomp_arch_add failed with ${errnoName(-result)}`);
    tokens.add(token);
  });
  return [...tokens];
}

function resolveArchitecture(name: string): number {
  const match = /^SCMP_ARCH_(\w+)$/.exec(name);
  return match ? callC(LIBRARY, 'seccomp_arch_resolve_name', [cString(match[1]!.toLowerCase())]) >>> 0 : 0;
}

/** Returns the names that libseccomp doesn't know. A rule that says what happens anyway is refused by it, so left out. */
function addRules(context: number, defaultAction: number, rules: readonly Rule[]): string[] {
  const skipped = new Set<string>();
  for (const { name, action, conditions } of rules) {
    if (action === defaultAction) continue;
    const nr = scmp('seccomp_syscall_resolve_name', [cString(name)]);
    if (nr === UNKNOWN_SYSCALL) {
      skipped.add(name);
      continue;
    }
    const count = conditions.length / SCMP_ARG_CMP_BYTES;
    const result = scmp('seccomp_rule_add_array', [context, action, nr, count, count === 0 ? 0 : conditions]);
    if (result < 0)
      throw fault('/syscalls', `has a rule for ${name} that libseccomp refuses with ${errnoName(-result)}`);
  }
  return [...skipped];
}

/** The largest number that any rule names, per architecture; negative ones are libseccomp's stand-ins for "not here". */
function findLimits(tokens: readonly number[], rules: readonly Rule[]): ArchLimit[] {
  const names = [...new Set(rules.map((rule) => rule.name))].map(cString);
  const limits: ArchLimit[] = [];
  for (const token of tokens) {
    const last = Math.max(...names.map((name) => scmp('seccomp_syscall_resolve_name_arch', [token, name])));
    const x64 = limits.find((limit) => limit.auditArch === AUDIT_ARCH_X86_64);
    if (last < 0) continue;
    if (token !== SCMP_ARCH_X32) limits.push({ auditArch: token, last });
    else if (x64) x64.lastX32 = last;
  }
  return limits;
}

/** libseccomp 2.5 writes a program to a descriptor only: a memfd. */
function exportProgram(context: number): Buffer {
  const fd = syscall('memfd_create', ['seccomp', MFD_CLOEXEC]);
  try {
    const result = scmp('seccomp_export_bpf', [context, fd]);
    if (result < 0) throw new ContainerError(`libseccomp cannot export the filter: ${errnoName(-result)}`);
    const program = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
