/**
 * The plan: what will be done, in the kernel's terms, as plain data. src/core/init carries it out. It is made from the
 * spec and facts about the host by plan/container.ts, without any I/O, and never changed afterwards.
 */
import type { IdMapping } from '../spec/types.ts';

export interface Plan {
  id: string;
  namespaces: NamespacePlan;
  /** Each becomes a user namespace; the container's own is the first. */
  idMaps: readonly IdMaps[];
  root: RootPlan;
  mounts: readonly MountPlan[];
  devices: readonly DevicePlan[];
  /** For what can be read-only only once the devices are in it. */
  lateRemounts?: readonly RemountPlan[];
  /** Paths inside the container. */
  maskedPaths: readonly string[];
  readonlyPaths: readonly string[];
  hostname?: string;
  domainname?: string;
  /** Paths below /proc/sys, and what is written there. */
  sysctls: readonly { path: string; value: string }[];
  loopback: boolean;
  terminal?: { rows: number; columns: number };
  process: ProcessPlan;
  cgroup: CgroupPlan;
}

/** One more process in a container that is there already. */
export type ExecPlan = Pick<Plan, 'process' | 'terminal'>;

export interface NamespacePlan {
  /** CLONE_NEW* for clone3; the cgroup namespace is not among them, its root would be the wrong one. */
  clone: number;
  newCgroup: boolean;
  /** Namespaces of others, by path on the host. */
  join: readonly { type: string; flag: number; path: string; specPointer: string }[];
  /** A user namespace, new with the first of the plan's idMaps, or among those to join; who its root is outside, if known. */
  user?: { root?: { uid: number; gid: number } };
  /** A new time namespace: what is written to timens_offsets. */
  timeOffsets?: string;
}

/** From ids inside to those outside. */
export interface IdMaps {
  uid: readonly IdMapping[];
  gid: readonly IdMapping[];
}

export interface RootPlan {
  /** Mounted inside the container's own mount namespace: nothing to clean up on the host. */
  source:
    | {
        kind: 'overlay';
        layersFolder: string;
        lower: readonly string[];
        upper: string;
        work: string;
        volatile: boolean;
        /** The layers are shown with the owners of the container's user namespace. */
        idMapped?: boolean;
      }
    | { kind: 'directory'; path: string };
  /** Where on the host the root is mounted before pivot_root. */
  target: string;
  /** Only chroot(2), in place of pivot_root: not a wall. */
  chroot?: boolean;
  readonly: boolean;
  /** MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, or 0 to leave it private. */
  propagation: number;
}

export type MountPlan = FilesystemPlan | BindPlan | RemountPlan;
/** Other flags for a mount that is there. */
export type RemountPlan = Omit<BindPlan, 'kind' | 'source' | 'recursive'> & { kind: 'remount' };

export interface FilesystemPlan {
  kind: 'filesystem';
  target: string;
  fstype: string;
  /** Shown in mountinfo. */
  source: string;
  /** Strings for fsconfig; null is a flag. */
  parameters: readonly (readonly [key: string, value: string | null])[];
  /** MOUNT_ATTR_*. */
  attributes: number;
  propagation: number;
  specPointer: string;
}

export interface BindPlan {
  kind: 'bind';
  target: string;
  /** Absolute path on the host. */
  source: string;
  /** A detached mount to take in place of the source: a descriptor of fsmount(2), borrowed. */
  detached?: number;
  recursive: boolean;
  set: number;
  clear: number;
  attributesRecursive: boolean;
  propagation: number;
  propagationRecursive: boolean;
  /** Which of the plan's idMaps its files are seen through. */
  idMap?: number;
  idMapRecursive?: boolean;
  specPointer: string;
}

export interface DevicePlan {
  path: string;
  /** S_IFCHR, S_IFBLK or S_IFIFO with the permissions. */
  mode: number;
  major: number;
  minor: number;
  uid: number;
  gid: number;
}

export interface ProcessPlan {
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  /** Make cwd if it is not there, as docker run does. */
  createCwd: boolean;
  user: UserPlan;
  umask: number;
  capabilities: { bounding: bigint; effective: bigint; permitted: bigint; inheritable: bigint; ambient: bigint };
  /** Numbers of getrlimit(2); -1 is RLIM_INFINITY. */
  rlimits: readonly { name: string; resource: number; soft: number; hard: number }[];
  noNewPrivileges: boolean;
  oomScoreAdj?: number;
  /** SECCOMP_FILTER_FLAG_* and the program, compiled. */
  seccomp?: { program: Uint8Array; flags: number };
  scheduling?: SchedulingPlan;
  labels?: readonly LabelPlan[];
  /** Put a small init between: it forwards signals and reaps. */
  init: boolean;
}

/** Calls in the kernel's numbers, in their order; made outside core, as the seccomp program is. */
export type SchedulingPlan = readonly {
  name: 'sched_setaffinity' | 'sched_setattr' | 'ioprio_set' | 'set_mempolicy' | 'personality';
  args: readonly (number | Uint8Array)[];
}[];

/** What AppArmor or SELinux is told about the next exec. */
export interface LabelPlan {
  /** Below /proc/self. */
  file: string;
  value: string;
  specPointer: string;
}

/** Numbers, or text as docker's --user has it, looked up in the container's own passwd and group files. */
export type UserPlan =
  | { kind: 'ids'; uid: number; gid: number; additionalGids: readonly number[] }
  | { kind: 'lookup'; user: string; groupAdd: readonly string[] };

export interface CgroupPlan {
  /** Below the root of the cgroup v2 hierarchy, with a leading slash. */
  path: string;
  /** Written before the first process is born there. */
  files: readonly CgroupFile[];
  /** Enable every controller that there is, so that it can be measured, not only those with a limit. */
  everyController?: boolean;
  /** Take a cgroup that exists already, if it is empty. */
  reuse?: boolean;
  /** eBPF that decides about device nodes; absent where everything is allowed. */
  devices?: { program: Uint8Array };
}

export interface CgroupFile {
  controller: string;
  file: string;
  /** Each line is a write of its own. */
  value: string;
  /** What the user knows it by. */
  option: string;
  /** Skip it where the kernel has no such file, or the controller is missing. */
  ifPresent?: boolean;
  /** Where the kernel has no such file, this one. */
  otherwise?: { file: string; value: string };
  /** The file with the use that the value must be above. */
  above?: string;
}
