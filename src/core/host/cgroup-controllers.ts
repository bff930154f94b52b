/** Which controllers a cgroup has, and handing them down to it; why it can't be done, with what proves it. Host side. Source: the kernel's cgroup-v2.rst. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { ContainerError } from '../kernel/error.ts';
import type { CgroupPlan } from '../plan/plan.ts';
import { readMountinfo } from './mountinfo.ts';

export const words = (file: string): string[] => readFileSync(file, 'utf8').trim().split(/\s+/).filter(Boolean);

/** A limit whose controller is missing is an error that names it, where it is bound, and the fix. */
export function checkControllers(root: string, plan: CgroupPlan): void {
  if (plan.files.length === 0) return;
  const present = words(`${root}/cgroup.controllers`);
  const needed = plan.files.filter(({ controller, ifPresent }) => !ifPresent && !present.includes(controller));
  const first = needed[0];
  if (!first) return;
  const v1 = readMountinfo('self').find(
    (mount) => mount.fstype === 'cgroup' && mount.superOptions.includes(first.controller),
  );
  const options = [...new Set(needed.map(({ option }) => option))].join(', ');
  throw new ContainerError(
    `the ${options} can't be kept: the ${first.controller} controller is not in cgroup v2 (${root})` +
      (v1 ? `, it is bound to cgroup v1 at ${v1.mountPoint}` : ''),
    {
      hint: v1
        ? `boot with cgroup_no_v1=${first.controller} or systemd.unified_cgroup_hierarchy=1; without the limit the container runs`
        : `the requested cgroup controller \`${first.controller}\` is not available: see ${root}/cgroup.controllers; a delegated cgroup needs Delegate=${first.controller}, a kernel may have cgroup_disable=${first.controller}`,
    },
  );
}

/** Every cgroup on the way is made, and hands the controllers on to its children (cgroup.subtree_control). */
export function enableControllers(root: string, plan: CgroupPlan): void {
  const needed = new Set(plan.files.filter(({ ifPresent }) => !ifPresent).map(({ controller }) => controller));
  const wanted = plan.everyController ? words(`${root}/cgroup.controllers`) : [...needed];
  const parents = plan.path.split('/').slice(1, -1);
  for (let depth = 0; depth <= parents.length; depth++) {
    const folder = [root, ...parents.slice(0, depth)].join('/');
    if (!existsSync(folder)) makeCgroup(folder);
    const enabled = wanted.length > 0 ? words(`${folder}/cgroup.subtree_control`) : [];
    const missing = wanted.filter((name) => !enabled.includes(name));
    // Threaded controllers (cpu, pids) would be let through, and make the children invalid for processes. Only the root has no type.
    const full =
      missing.length > 0 && existsSync(`${folder}/cgroup.type`) && words(`${folder}/cgroup.procs`).length > 0;
    for (const controller of missing)
      try {
        if (full) throw Object.assign(new Error('processes sit in it'), { code: 'EBUSY' });
        writeFileSync(`${folder}/cgroup.subtree_control`, `+${controller}`);
      } catch (error) {
        if (needed.has(controller)) throw refused(`hand ${controller} to the children of ${folder}`, folder, error);
      }
  }
}

/** mkdir(2). @throws ContainerError; EEXIST is thrown as it is */
export function makeCgroup(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    if ((error as { code?: string }).code === 'EEXIST') throw error;
    throw refused(`make the cgroup ${folder}`, folder.slice(0, folder.lastIndexOf('/')), error);
  }
}

/** `folder` is the cgroup that refuses: who sits in it, or whose it is. */
function refused(what: string, folder: string, cause: unknown): ContainerError {
  const fault = (why: string, hint: string) => new ContainerError(`can't ${what}: ${why}`, { hint, cause });
  const { code, path = folder } = cause as { code?: string; path?: string };
  if (code === 'EBUSY')
    return fault(
      `processes sit in it (${words(`${folder}/cgroup.procs`).slice(0, 5).map(nameOf).join(', ')})`,
      `cgroup v2 wants processes in the leaves only (cgroup-v2.rst, "No Internal Process Constraint"): mkdir ${folder}/leaf, and echo each PID > ${folder}/leaf/cgroup.procs`,
    );
  if (code === 'EROFS')
    return fault(
      'the hierarchy is mounted read-only here',
      'as in a container without --privileged: it wants a writable mount of type cgroup2',
    );
  if (code !== 'EACCES' && code !== 'EPERM') return fault(String(code), `see ${folder}`);
  const place = existsSync(path) ? path : folder;
  const handedOn = words(`${folder}/cgroup.subtree_control`).join(', ') || 'none';
  return fault(
    `uid ${process.geteuid!()} can't write to ${place}, which belongs to uid ${statSync(place).uid}`,
    `controllers that are handed on here: ${handedOn}. Run it as root, or in a cgroup that was handed over: systemd-run --user --scope -p Delegate=yes COMMAND, and Delegate=yes in user@.service for its controllers`,
  );
}

/** 123 sleep */
function nameOf(pid: string): string {
  try {
    return `${pid} ${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()}`;
  } catch {
    return pid; // it has ended, or is in another pid namespace (0)
  }
}
