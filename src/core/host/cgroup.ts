/** cgroup v2 as files: find the hierarchy, make a cgroup with its limits, kill and remove it. Host side. Source: the kernel's cgroup-v2.rst. */
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { ContainerError } from '../kernel/error.ts';
import type { CgroupFile, CgroupPlan } from '../plan/plan.ts';
import type { HostFd } from '../stage/stage.ts';
import { checkControllers, enableControllers, makeCgroup, words } from './cgroup-controllers.ts';
import { type MountInfo, readMountinfo } from './mountinfo.ts';
import { syscall } from './syscall.ts';

/** Where the v2 hierarchy is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid host. */
export function cgroupRoot(mounts: readonly MountInfo[] = readMountinfo('self')): string {
  const found = mounts.findLast((mount) => mount.fstype === 'cgroup2' && mount.mountPoint.startsWith('/sys/fs/cgroup'));
  if (!found)
    throw new ContainerError('cgroup v2 is not mounted below /sys/fs/cgroup', {
      hint: 'mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1',
    });
  return found.mountPoint;
}

/** Makes the cgroup and writes its limits; on failure nothing new is left. Returns its folder. */
export function createCgroup(plan: CgroupPlan): string {
  const root = cgroupRoot();
  checkControllers(root, plan);
  const folder = `${root}${plan.path}`;
  enableControllers(root, plan);
  let made = false;
  try {
    makeCgroup(folder);
    made = true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error;
    checkUnused(plan, folder);
  }
  try {
    for (const limit of plan.files) writeLimit(folder, limit);
  } catch (error) {
    if (made) rmdirSync(folder);
    throw error;
  }
  return folder;
}

/** Somebody else's processes would share its limits, and end with it. */
function checkUnused({ path, reuse }: CgroupPlan, folder: string): void {
  if (!reuse)
    throw new ContainerError(`the cgroup ${path} exists already`, {
      hint: 'tinyctr cleanup removes what dead containers left',
    });
  const [pid, child] = [words(`${folder}/cgroup.procs`)[0], words(`${folder}/cgroup.subtree_control`)[0]];
  const why =
    (pid && `container's cgroup is not empty: process ${pid} is in it`) ||
    (words(`${folder}/cgroup.events`)[1] === '1' && "container's cgroup is not empty: processes are below it") ||
    (child && `it hands controllers on (${child}), so no process may enter`) ||
    (words(`${folder}/cgroup.freeze`)[0] === '1' && "container's cgroup unexpectedly frozen");
  if (why) throw new ContainerError(`the cgroup ${path} exists already, and is in use: ${why}`);
}

/** The file that this kernel has. */
export function chosenFile(folder: string, { file, value, otherwise }: CgroupFile): { file: string; value: string } {
  return otherwise && !existsSync(`${folder}/${file}`) ? otherwise : { file, value };
}

/** @throws ContainerError with what the kernel said */
export function writeLimit(folder: string, limit: CgroupFile): void {
  const { file, value } = chosenFile(folder, limit);
  if (limit.ifPresent && !existsSync(`${folder}/${file}`)) return;
  try {
    for (const line of value.split('\n')) writeLine(`${folder}/${file}`, line);
  } catch (error) {
    const { code } = error as { code?: string };
    const why =
      code === 'ENOENT'
        ? `this kernel has no ${file} (no such file or directory)`
        : `${file} refuses ${value} (${code})`;
    throw new ContainerError(`the ${limit.option} can't be set: ${why}`, { cause: error });
  }
}

/** One write(2), to a file that is there. */
export function writeLine(path: string, line: string): void {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    writeSync(fd, `${line}\n`);
  } finally {
    closeSync(fd);
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

/** Removes the cgroup and those that the container made in it, once no process is left in them. EBUSY if one would not die within two seconds. */
export function removeCgroup(folder: string): void {
  try {
    removeTree(folder);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EBUSY') throw error;
    awaitEvent(folder, 'populated 0', 2000);
    removeTree(folder);
  }
}

const POLLPRI = 2;

/** Waits for a line of cgroup.events: the kernel wakes who polls that file and has read it before. False if nothing changes for `timeoutMs`. */
export function awaitEvent(folder: string, line: string, timeoutMs: number): boolean {
  const events = openSync(`${folder}/cgroup.events`, 'r');
  const text = Buffer.alloc(256);
  const pollfd = Int32Array.of(events, POLLPRI);
  const timespec = BigInt64Array.of(BigInt(Math.floor(timeoutMs / 1000)), BigInt(timeoutMs % 1000) * 1_000_000n);
  try {
    while (
      !text
        .toString('latin1', 0, readSync(events, text, 0, text.length, 0))
        .split('\n')
        .includes(line)
    )
      if (syscall('ppoll', [pollfd, 1, new Uint8Array(timespec.buffer), null, 0], ['EINTR']) === 0) return false;
    return true;
  } finally {
    closeSync(events);
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
