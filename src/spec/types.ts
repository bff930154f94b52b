/**
 * The whole of config.json, Linux only, field names verbatim: what src/core makes its plan of, and what is decided around
 * it, by src/oci, src/engine and src/seccomp. Source: runtime-spec 1.3.0, config.md and config-linux.md.
 */
import type * as core from '../core/spec/types.ts';

export interface Spec extends core.Spec {
  ociVersion: string;
  process?: Process;
  hooks?: Partial<Record<HookName, Hook[]>>;
  annotations?: Record<string, string>;
  linux?: Linux;
}

export interface Process extends core.Process {
  consoleSize?: { height: number; width: number };
  apparmorProfile?: string;
  selinuxLabel?: string;
  scheduler?: Scheduler;
  ioPriority?: { class: string; priority: number };
  /** Lists of processors, such as "0-3,7". */
  execCPUAffinity?: { initial?: string; final?: string };
}

export interface Scheduler {
  /** SCHED_OTHER, _FIFO, _RR, _BATCH, _ISO, _IDLE or _DEADLINE. */
  policy: string;
  nice?: number;
  priority?: number;
  flags?: string[];
  /** Nanoseconds, as the next two. */
  runtime?: number;
  deadline?: number;
  period?: number;
}

export type HookName = 'prestart' | 'createRuntime' | 'createContainer' | 'startContainer' | 'poststart' | 'poststop';

export interface Hook {
  /** Absolute. */
  path: string;
  /** With argv[0]. */
  args?: string[];
  env?: string[];
  /** Seconds. */
  timeout?: number;
}

export interface Linux extends core.Linux {
  cgroupsPath?: string;
  seccomp?: Seccomp;
  mountLabel?: string;
  personality?: { domain: string; flags?: string[] };
  memoryPolicy?: MemoryPolicy;
}

export interface MemoryPolicy {
  /** MPOL_DEFAULT, _PREFERRED, _BIND, _INTERLEAVE, _LOCAL, _PREFERRED_MANY or _WEIGHTED_INTERLEAVE. */
  mode: string;
  /** A list of memory nodes, such as "0-3,7". */
  nodes?: string;
  flags?: string[];
}

export interface Seccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: SeccompSyscall[];
}

export interface SeccompSyscall {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: SeccompArg[];
}

export interface SeccompArg {
  index: number;
  value: number;
  valueTwo?: number;
  /** SCMP_CMP_NE, _LT, _LE, _EQ, _GE, _GT or _MASKED_EQ. */
  op: string;
}
