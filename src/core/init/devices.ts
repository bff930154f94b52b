/** Device nodes and links below /dev, all made relative to a descriptor of /dev (SEC-08). */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import { makedev } from '../kernel/structs.ts';
import type { DevicePlan } from '../plan/plan.ts';
import type { Stage, StageFd } from '../stage/stage.ts';
import { ensureTarget, NO_LINKS, resolveInRoot } from './resolve.ts';

/** Source: config-linux.md "Dev symbolic links"; core as docker and runc have it. */
const links: readonly (readonly [name: string, target: string])[] = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['core', '/proc/kcore'],
  ['ptmx', 'pts/ptmx'],
];

/** `nodes`: the devices, made already. Returns a descriptor of the container's /dev/null, proven to be character device 1:3. */
export function makeDevices(
  stage: Stage,
  root: StageFd,
  devices: readonly DevicePlan[],
  nodes?: readonly StageFd[],
): StageFd {
  stage.step({
    id: 'devices',
    why: 'the devices every program relies on; the host’s others are not there',
    without: 'shells and libraries fail on /dev/null and /dev/urandom',
    see: ['mknod(2)', 'config-linux.md: Default Devices', 'CVE-2026-41579'],
    explain: (error) =>
      error.code === 'ELOOP'
        ? new ContainerError('/dev in the container is, or leads through, a symbolic link: refused', { cause: error })
        : undefined,
  });
  const dev = ensureTarget(stage, root, '/dev', 'directory', NO_LINKS);
  if (nodes) for (const [i, { path }] of devices.entries()) bindDevice(stage, root, path, nodes[i]!);
  else for (const device of devices) makeDevice(stage, root, dev, device);
  for (const [name, target] of links) stage.symlinkat(target, dev, name);
  stage.close(dev);
  return openNullDevice(stage, root);
}

function makeDevice(stage: Stage, root: StageFd, dev: StageFd, device: DevicePlan): void {
  const parts = device.path.split('/').filter((part) => part !== '');
  const name = parts.at(-1)!;
  const inDev = parts.length === 2 && parts[0] === 'dev';
  const folder = inDev ? dev : ensureTarget(stage, root, parts.slice(0, -1).join('/') || '.', 'directory', NO_LINKS);
  stage.mknodat(folder, name, device.mode, makedev(device.major, device.minor), ['EEXIST']);
  if (device.uid !== 0 || device.gid !== 0) stage.fchownat(folder, name, device.uid, device.gid);
  if (!inDev) stage.close(folder);
}

function bindDevice(stage: Stage, root: StageFd, path: string, node: StageFd): void {
  const target = ensureTarget(stage, root, path, 'file', NO_LINKS);
  stage.move_mount(node, target);
  for (const fd of [node, target]) stage.close(fd);
}

/** What masks cover files with. An image whose /dev/null leads elsewhere is refused (CVE-2025-31133). */
function openNullDevice(stage: Stage, root: StageFd): StageFd {
  const fd = resolveInRoot(stage, root, '/dev/null', k.O_PATH | k.O_NOFOLLOW);
  const status = stage.fstat(fd);
  const isNull = status && (status.mode & k.S_IFMT) === k.S_IFCHR && status.rdevMajor === 1 && status.rdevMinor === 3;
  if (!isNull) throw new ContainerError('/dev/null in the container is not the null device (character 1:3): refused');
  return fd;
}
