/**
 * The OCI runtime configuration (config.json) as TypeScript types, Linux only, field names verbatim: what plans are made
 * of. The rest is in src/spec/types.ts. Source: runtime-spec 1.3.0, config.md and config-linux.md.
 */

export interface Spec {
  process?: Process;
  root?: Root;
  hostname?: string;
  domainname?: string;
  mounts?: Mount[];
  linux?: Linux;
}

export interface Process {
  terminal?: boolean;
  user: User;
  args?: string[];
  env?: string[];
  /** Absolute path inside the container. */
  cwd: string;
  capabilities?: Capabilities;
  rlimits?: Rlimit[];
  noNewPrivileges?: boolean;
  /** -1000 to 1000, written to /proc/self/oom_score_adj. */
  oomScoreAdj?: number;
}

export interface User {
  uid: number;
  gid: number;
  /** Octal in meaning, decimal in JSON: 0o022 is 18. */
  umask?: number;
  additionalGids?: number[];
}

export interface Capabilities {
  bounding?: string[];
  effective?: string[];
  inheritable?: string[];
  permitted?: string[];
  ambient?: string[];
}

export interface Rlimit {
  /** RLIMIT_NOFILE and so on. */
  type: string;
  soft: number;
  hard: number;
}

export interface Root {
  path: string;
  readonly?: boolean;
}

export interface Mount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
  /** From ids of the source to ids of the host that the mount shows. */
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
}

export type NamespaceType = 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time';

export interface Namespace {
  type: NamespaceType;
  /** A namespace to join, instead of a new one. */
  path?: string;
}

export interface IdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface Device {
  path: string;
  type: 'c' | 'b' | 'u' | 'p';
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface Linux {
  namespaces?: Namespace[];
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
  /** By clock, `monotonic` or `boottime`. */
  timeOffsets?: Record<string, { secs?: number; nanosecs?: number }>;
  devices?: Device[];
  resources?: Resources;
  rootfsPropagation?: 'shared' | 'slave' | 'private' | 'unbindable';
  sysctl?: Record<string, string>;
  maskedPaths?: string[];
  readonlyPaths?: string[];
}

/** What cgroup v2 has. In bytes and microseconds; -1 is without limit. */
export interface Resources {
  devices?: { allow: boolean; type?: string; major?: number; minor?: number; access?: string }[];
  /** `swap` is memory and swap together. */
  memory?: { limit?: number; reservation?: number; swap?: number; checkBeforeUpdate?: boolean };
  cpu?: {
    shares?: number;
    quota?: number;
    burst?: number;
    period?: number;
    cpus?: string;
    mems?: string;
    /** 1 is SCHED_IDLE. */
    idle?: number;
  };
  pids?: { limit?: number };
  blockIO?: BlockIO;
  hugepageLimits?: { pageSize: string; limit: number }[];
  rdma?: Record<string, { hcaHandles?: number; hcaObjects?: number }>;
  /** Files of the cgroup, as they are. */
  unified?: Record<string, string>;
}

export interface BlockIO {
  /** 10 to 1000. */
  weight?: number;
  weightDevice?: { major: number; minor: number; weight?: number }[];
  throttleReadBpsDevice?: Throttle[];
  throttleWriteBpsDevice?: Throttle[];
  throttleReadIOPSDevice?: Throttle[];
  throttleWriteIOPSDevice?: Throttle[];
}

export interface Throttle {
  major: number;
  minor: number;
  /** Bytes or operations a second. */
  rate: number;
}
