/** What the kernel says of the process that is becoming a container's, read from outside while it waits. Host side. */
import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { type MountInfo, readMountinfo } from '../core/host/mountinfo.ts';
import { syscall } from '../core/host/syscall.ts';
import { CLONE_NEWUTS } from '../core/kernel/constants.ts';
import { capabilitiesIn } from '../core/plan/capabilities.ts';

const namespaceNames = ['user', 'mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup', 'time'] as const;
const capabilitySets = { inheritable: 'Inh', permitted: 'Prm', effective: 'Eff', bounding: 'Bnd', ambient: 'Amb' };

export interface KernelView {
  /** Inode numbers, which name them. */
  namespaces: Record<string, { id: number; ofHost: boolean }>;
  mounts: MountInfo[];
  hostname: string;
  /** Real, effective, saved, and of files; then the supplementary groups. */
  ids: { uid: number[]; gid: number[]; groups: number[] };
  capabilities: Record<keyof typeof capabilitySets, string[]>;
  noNewPrivileges: boolean;
  /** A filter is on. */
  seccomp: boolean;
  cgroup: string;
  root: string;
  cwd: string;
}

/** Throws ENOENT or ESRCH when there is no such process any more. */
export function viewOf(pid: number | 'self'): KernelView {
  const status = statusOf(pid);
  const numbers = (name: string) => (status.get(name) ?? '').split(/\s+/).filter(Boolean).map(Number);
  const namespaces = Object.fromEntries(
    namespaceNames.map((name) => {
      const id = namespaceId(pid, name);
      return [name, { id, ofHost: id === namespaceId('self', name) }];
    }),
  );
  const sets = Object.entries(capabilitySets).map(([set, name]) => [
    set,
    capabilitiesIn(BigInt(`0x${status.get(`Cap${name}`)}`)),
  ]);
  return {
    namespaces,
    mounts: readMountinfo(pid),
    hostname: hostnameOf(pid, namespaces.uts!.ofHost),
    ids: { uid: numbers('Uid'), gid: numbers('Gid'), groups: numbers('Groups') },
    capabilities: Object.fromEntries(sets),
    noNewPrivileges: status.get('NoNewPrivs') === '1',
    seccomp: status.get('Seccomp') !== '0',
    cgroup: /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '',
    root: readlinkSync(`/proc/${pid}/root`),
    cwd: readlinkSync(`/proc/${pid}/cwd`),
  };
}

/** Source: proc_pid_status(5). */
function statusOf(pid: number | 'self'): Map<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').trim().split('\n');
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
}

function namespaceId(pid: number | 'self', name: string): number {
  return Number(/\[(\d+)\]/.exec(readlinkSync(`/proc/${pid}/ns/${name}`))![1]);
}

/** The kernel shows a name only to who is in the namespace: this thread goes there for a moment. */
function hostnameOf(pid: number | 'self', ofHost: boolean): string {
  const read = () => readFileSync('/proc/sys/kernel/hostname', 'utf8').trim();
  if (ofHost) return read();
  const fds = [pid, 'self'].map((of) => openSync(`/proc/${of}/ns/uts`, 'r'));
  try {
    syscall('setns', [fds[0]!, CLONE_NEWUTS]);
    return read();
  } finally {
    syscall('setns', [fds[1]!, CLONE_NEWUTS]);
    for (const fd of fds) closeSync(fd);
  }
}
