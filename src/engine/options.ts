/**
 * What goes into a container's specification: the options of `tinyctr run`, the few image fields that count,
 * and what is asked of the host. Types only; spec.ts makes the OCI Spec of them.
 */
import type { Device } from '../core/spec/types.ts';

/** docker's options that limit a cgroup; `tinyctr limit` has them too. Repeated ones are lists, absent when nobody gave one. */
export interface LimitOptions {
  memory?: string;
  memorySwap?: string;
  memoryReservation?: string;
  cpus?: string;
  cpuShares?: string;
  cpuQuota?: string;
  cpuPeriod?: string;
  cpusetCpus?: string;
  cpusetMems?: string;
  pidsLimit?: string;
  blkioWeight?: string;
  blkioWeightDevice?: string[];
  deviceReadBps?: string[];
  deviceWriteBps?: string[];
  deviceReadIops?: string[];
  deviceWriteIops?: string[];
  deviceCgroupRule?: string[];
  cgroupParent?: string;
}

/** The options of `tinyctr run` as the command line gives them: docker's names, repeated ones as lists. */
export interface RunOptions extends LimitOptions {
  detach?: boolean;
  interactive?: boolean;
  tty?: boolean;
  rm?: boolean;
  name?: string;
  env: string[];
  envFile: string[];
  volume: string[];
  mount: string[];
  tmpfs: string[];
  workdir?: string;
  user?: string;
  groupAdd: string[];
  hostname?: string;
  entrypoint?: string;
  readOnly?: boolean;
  network?: string;
  ulimit: string[];
  device: string[];
  capAdd: string[];
  capDrop: string[];
  privileged?: boolean;
  securityOpt: string[];
  init?: boolean;
  pid?: string;
  ipc?: string;
  uts?: string;
  userns?: string;
  sysctl: string[];
  shmSize?: string;
  dns: string[];
  addHost: string[];
  label: string[];
  cidfile?: string;
  stopSignal?: string;
  cgroupns?: string;
  /** How many walls: isolation.ts. */
  isolation?: string;
  restart?: string;
  stopTimeout?: string;
  logDriver?: string;
  logOpt?: string[];
}

/** A device node of the host, as lstat(2) shows it; `fileMode` may carry the file type bits. */
export type HostDevice = Required<Device>;

/** What the specification has to know about the host. The caller reads; src/engine itself does no input or output. */
export interface HostReaders {
  /** The host's own name, uname(2) nodename. */
  hostname: string;
  /** The number of online processors; --cpus may not ask for more. */
  cpus: number;
  env: NodeJS.ProcessEnv;
  /** The whole file; the error of a failed read becomes part of the usage error. */
  readFile(path: string): Uint8Array;
  exists(path: string): boolean;
  /** A path of the command line made absolute against the working directory. */
  resolve(path: string): string;
  /** The device at `path`, or every device below it when it is a directory (an empty list when there is none). */
  devices(path: string): HostDevice[];
  /** Without links; for a path that exists. */
  realPath(path: string): string;
  /** A name that no volume has: 64 hex digits. */
  volumeName(): string;
}
