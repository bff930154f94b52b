/** Which namespaces a traced process is in that are not the runtime's own, by the kernel's numbers. Host side. */
import { readlinkSync } from 'node:fs';
import * as k from '../core/kernel/constants.ts';
import type { Arg } from '../core/stage/protocol.ts';

/** By name: the inode number as in `ls -l /proc/PID/ns`; 0 where it could not be read. Source: namespaces(7). */
export type NamespaceIds = Readonly<Record<string, number>>;

const flags: readonly (readonly [name: string, flag: number])[] = [
  ['user', k.CLONE_NEWUSER],
  ['mnt', k.CLONE_NEWNS],
  ['pid', k.CLONE_NEWPID],
  ['uts', k.CLONE_NEWUTS],
  ['ipc', k.CLONE_NEWIPC],
  ['net', k.CLONE_NEWNET],
  ['cgroup', k.CLONE_NEWCGROUP],
  ['time', k.CLONE_NEWTIME],
];

function idOf(pid: number | 'self', name: string): number {
  try {
    return Number(readlinkSync(`/proc/${pid}/ns/${name}`).slice(name.length + 2, -1)); // mnt:[4026531841]
  } catch {
    return 0; // it has ended
  }
}

export class StageNamespaces {
  /** Those that it does not share with this process; another object after a change. */
  others: NamespaceIds = {};
  private pid = 0;
  private readonly own = new Map(flags.map(([name]) => [name, idOf('self', name)]));

  /** `pid` is the host's, of a process that was just born. */
  born(pid: number): void {
    this.pid = pid;
    this.others = {};
    this.look(flags.map(([name]) => name));
  }

  /** After a call that succeeded. */
  entered(name: string, args: readonly Arg[], result: number | undefined): void {
    if (name === 'clone3' && result !== undefined) this.born(result);
    const changed = name === 'unshare' ? Number(args[0]) : name === 'setns' ? Number(args[1]) : 0;
    if (changed !== 0) this.look(flags.flatMap(([type, flag]) => (changed & flag ? [type] : [])));
  }

  private look(names: readonly string[]): void {
    const found: Record<string, number> = { ...this.others };
    for (const name of names) {
      const id = idOf(this.pid, name);
      if (id !== this.own.get(name)) found[name] = id;
    }
    this.others = Object.fromEntries(flags.flatMap(([name]) => (name in found ? [[name, found[name]!]] : [])));
  }
}
