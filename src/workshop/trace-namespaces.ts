/** Which namespaces a traced process has changed to, by the kernel's numbers; looked at only where a call may have changed one. Host side. */
import * as k from '../core/kernel/constants.ts';

/** As it is before it is watched. */
const { readlinkSync } = process.getBuiltinModule('node:fs');

/** By name: the inode number as in `ls -l /proc/PID/ns`; 0 where it is not known. Source: namespaces(7). */
export type NamespaceIds = Readonly<Record<string, number>>;

export const namespaceFlags: readonly (readonly [name: string, flag: number])[] = [
  ['user', k.CLONE_NEWUSER],
  ['mnt', k.CLONE_NEWNS],
  ['pid', k.CLONE_NEWPID],
  ['uts', k.CLONE_NEWUTS],
  ['ipc', k.CLONE_NEWIPC],
  ['net', k.CLONE_NEWNET],
  ['cgroup', k.CLONE_NEWCGROUP],
  ['time', k.CLONE_NEWTIME],
];
const ALL = namespaceFlags.reduce((all, [, flag]) => all | flag, 0);

function idOf(pid: number | 'self', name: string): number {
  try {
    return Number(readlinkSync(`/proc/${pid}/ns/${name}`).slice(name.length + 2, -1)); // mnt:[4026531841]
  } catch {
    return 0; // it has ended
  }
}

export class ChangedNamespaces {
  /** CLONE_NEW* that this process has set by setns for its children. */
  forChildren = 0;
  private pid = 0;
  /** CLONE_NEW* of those that it may have changed, and of those among them that nobody else can be in. */
  private changed = 0;
  private fresh = 0;

  /** `pid` is the host's, of a process that was just born with these flags of clone3. */
  born(pid: number, flags: number): string {
    this.pid = pid;
    this.changed = flags | this.forChildren;
    this.fresh = flags & ~this.forChildren;
    return this.look();
  }

  /** A call of the process has returned. */
  entered(name: string, args: readonly unknown[], result: number | undefined): void {
    if (result !== undefined && result < 0) return;
    if (name !== 'clone3') this.changed |= Number(args[name === 'setns' ? 1 : 0]);
    else if (result !== undefined) {
      this.pid = result; // its child, which takes its place
      this.changed = ALL; // also those that the process has entered for its children only
    }
  }

  /** A field of a record: the numbers of those that may have changed; null is one that this process is in as well. */
  look(): string {
    const found: Record<string, number | null> = {};
    for (let i = 0; i < namespaceFlags.length; i++) {
      const [name, flag] = namespaceFlags[i]!;
      if ((this.changed & flag) === 0) continue;
      const id = idOf(this.pid, name);
      const isShared = (this.fresh & flag) === 0 && id !== 0 && id === idOf('self', name);
      found[name] = isShared ? null : id;
    }
    this.changed = this.fresh = 0;
    return `,"namespaces":${JSON.stringify(found)}`;
  }
}
