/** What doctor knows of a host, as plain data: read from it by gather.ts, judged by judge.ts. Types only. */

/** What came of trying: 'works', the errno's name, or why it was not tried. */
export type Tried = string;

export interface HostFacts {
  root: boolean;
  /** uname(2) release. */
  kernel: string;
  arch: string;
  node: string;
  /** Of this process's effective set. */
  capabilities: readonly string[];
  cgroup: {
    /** Where cgroup v2 is mounted below /sys/fs/cgroup. */
    folder?: string;
    controllers: readonly string[];
    /** Controllers of v1 hierarchies, with where they are mounted. */
    v1: Readonly<Record<string, string>>;
    /** A cgroup made and removed. */
    made: Tried;
    /** The file cgroup.kill was in it. */
    kill: Tried;
    /** An eBPF program for devices loaded and attached to it. */
    devices: Tried;
  };
  /** A process born in a new namespace of each type. */
  namespaces: Readonly<Record<string, Tried>>;
  /** By name; undefined where the kernel has no such file. */
  sysctls: Readonly<Record<string, string | undefined>>;
  overlay: Tried;
  /** The same in a user namespace. */
  overlayInUserNamespace: Tried;
  /** Of the module: index, metacopy, redirect_dir; Y, N or undefined. */
  overlayDefaults: Readonly<Record<string, string | undefined>>;
  /** On the store's file system. */
  idmappedMounts: Tried;
  /** SECCOMP_RET_ERRNO is available. */
  seccomp: Tried;
  /** Its version. */
  libseccomp: string | undefined;
  /** Active security modules; undefined where securityfs is not mounted. */
  lsm: readonly string[] | undefined;
  /** Ids of owner tinyctr or containers. */
  subordinate: Readonly<Record<'uid' | 'gid', number | undefined>>;
  store: {
    path: string;
    /** The nearest folder above that is there. */
    existing: string;
    fstype: string;
    freeBytes: number;
    freeInodes: number;
    writable: Tried;
    nodev: boolean;
    noexec: boolean;
  };
  run: { path: string; existing: string; fstype: string; writable: Tried };
  /** Programs by name, with their path. */
  tools: Readonly<Record<string, string | undefined>>;
  /** Clients that know tinyctr-oci by their configuration. */
  registered: readonly string[];
  /** The parts of C were built. */
  built: boolean;
}
