/** cgroup v2 as files: find the hierarchy, make a cgroup with its limits, kill and remove it. Host side. Source: the kernel's cgroup-v2.rst. */
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { ContainerError } from '../kernel/error.ts';
import type { CgroupPlan } from '../plan/plan.ts';
import type { HostFd } from '../stage/stage.ts';
import { type MountInfo, readMountinfo } from './mountinfo.ts';

/** Where the v2 hierarchy is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid host. */
export function cgroupRoot(mounts: readonly MountInfo[] = readMountinfo('self')): string {
  const found = mounts.findLast((mount) => mount.fstype === 'cgroup2' && mount.mountPoint.startsWith('/sys/fs/cgroup'));
  if (!found)
    throw new ContainerError('cgroup v2 is not mounted below /sys/fs/cgroup', {
      hint: 'mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1',
    });
  return found.mountPoint;
}

const words = (file: string): string[] => readFileSync(file, 'utf8').trim().split(/\s+/).filter(Boolean);

/** Makes the cgroup and writes its limits; on failure nothing new is left. Returns its folder. */
export function createCgroup(plan: CgroupPlan): string {
  const root = cgroupRoot();
  checkControllers(root, plan);
  const folder = `${root}${plan.path}`;
  enableControllers(root, plan);
  try {
    mkdirSync(folder);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error;
    throw new ContainerError(`the cgroup ${plan.path} exists already`, {
      hint: 'tinyctr cleanup removes what dead containers left',
    });
  }
  try {
    for (const { file, value, option, ifPresent } of plan.files)
      if (!ifPresent || existsSync(`${folder}/${file}`)) writeLimit(folder, file, value, option);
  } catch (error) {
    rmdirSync(folder);
    throw error;
  }
  return folder;
}

function writeLimit(folder: string, file: string, value: string, option: string): void {
  try {
    writeFileSync(`${folder}/${file}`, value);
  } catch (error) {
    throw new ContainerError(
      `the ${option} can't be set: ${file} refuses ${value} (${(error as { code?: string }).code})`,
      { cause: error },
    );
  }
}

/** A limit whose controller is missing is an error that names it, where it is bound, and the fix. */
function checkControllers(root: string, plan: CgroupPlan): void {
  const needed = plan.files.filter(({ controller }) => !words(`${root}/cgroup.controllers`).includes(controller));
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
        : `see ${root}/cgroup.controllers; a delegated cgroup needs Delegate=${first.controller}, a kernel may have cgroup_disable=${first.controller}`,
    },
  );
}

/** Every cgroup on the way hands the controllers on to its children (cgroup.subtree_control). */
function enableControllers(root: string, plan: CgroupPlan): void {
  const controllers = [...new Set(plan.files.map(({ controller }) => controller))];
  const parents = plan.path.split('/').slice(1, -1);
  for (let depth = 0; depth <= parents.length; depth++) {
    const folder = [root, ...parents.slice(0, depth)].join('/');
    if (!existsSync(folder)) mkdirSync(folder);
    const enabled = controllers.length > 0 ? words(`${folder}/cgroup.subtree_control`) : [];
    for (const controller of controllers.filter((name) => !enabled.includes(name)))
      enableController(folder, controller);
  }
}

function enableController(folder: string, controller: string): void {
  try {
    writeFileSync(`${folder}/cgroup.subtree_control`, `+${controller}`);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EBUSY') throw error;
    const processes = words(`${folder}/cgroup.procs`).slice(0, 5);
    throw new ContainerError(
      `${controller} can't be handed to the children of ${folder}: processes sit in it (${processes.join(', ')})`,
      {
        hint: 'cgroup v2 wants processes in the leaves only: move them to a child cgroup first (cgroup-v2.rst, "No Internal Process Constraint")',
        cause: error,
      },
    );
  }
}

export function openCgroup(folder: string): HostFd {
  return openSync(folder, 'r') as HostFd;
}

/** The folder of the cgroup that a process is in, which must be `above` or below it. Source: cgroups(7), /proc/pid/cgroup. */
export function ownCgroup(hostPid: number, above: string): string {
  const path = /^0::(\/.*)$/m.exec(readFileSync(`/proc/${hostPid}/cgroup`, 'utf8'))?.[1];
  const folder = `${cgroupRoot()}${path}`;
  if (folder !== above && !folder.startsWith(`${above}/`))
    throw new ContainerError(`process ${hostPid} is in the cgroup ${path}, which is not the container's`);
  return folder;
}

/** Kills every process in the cgroup and below, at once (cgroup.kill, Linux 5.14). Nothing if it is gone. */
export function killCgroup(folder: string): void {
  if (existsSync(folder)) writeFileSync(`${folder}/cgroup.kill`, '1');
}

/** Removes the cgroup and those that the container made in it. Throws after two seconds in which processes would not die. */
export async function removeCgroup(folder: string): Promise<void> {
  for (let waitMs = 1; ; waitMs *= 2) {
    if (!existsSync(folder)) return;
    try {
      removeTree(folder);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== 'EBUSY' || waitMs > 1024) throw error;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
}

function removeTree(folder: string): void {
  try {
    rmdirSync(folder); // nearly always enough, and one call
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return;
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) removeTree(`${folder}/${entry.name}`);
    rmdirSync(folder);
  }
}
