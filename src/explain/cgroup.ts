/** Why no process may be born in a cgroup that could be made. Host side. Source: the kernel's cgroup-v2.rst, "Delegation Containment". */
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { ContainerError, type SyscallError } from '../core/kernel/error.ts';

/** Being born there is being moved there: whoever does it must be allowed to write cgroup.procs of the lowest cgroup above both. */
export function explainBirth(error: SyscallError, path: string): ContainerError | undefined {
  const root = cgroupRoot();
  const own = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))![1]!;
  const target = path.split('/');
  const here = own === '/' ? [''] : own.split('/');
  const shared = target.findIndex((name, i) => name !== here[i]);
  const above = [root, ...target.slice(1, shared)].join('/');
  if (mayWrite(`${above}/cgroup.procs`)) return undefined;
  const folders = target.slice(shared).map((_, i) => [root, ...target.slice(1, shared + i + 1)].join('/'));
  const handedOver = folders.find((folder) => mayWrite(`${folder}/cgroup.procs`));
  const { uid } = statSync(`${above}/cgroup.procs`);
  return new ContainerError(
    `no process may be started in the cgroup ${path}: from ${own}, where tinyctr runs, it would cross ${above}, whose cgroup.procs belongs to uid ${uid}`,
    {
      hint:
        handedOver &&
        `tinyctr itself must run below ${handedOver}: by systemd-run --user --scope, or after root has moved this shell there: mkdir ${handedOver}/shell && echo ${process.ppid} > ${handedOver}/shell/cgroup.procs`,
      cause: error,
    },
  );
}

function mayWrite(file: string): boolean {
  try {
    accessSync(file, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
