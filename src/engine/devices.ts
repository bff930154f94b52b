/** The host's devices in the container: --device, and all of /dev with --privileged. Pure. */
import { posix } from 'node:path';
import { checkDestination } from './bind.ts';
import type { HostDevice, HostReaders, RunOptions } from './options.ts';
import { type Problems, UsageError } from './usage-error.ts';

interface DeviceRequest {
  hostPath: string;
  containerPath: string;
}

function isAccess(text: string): boolean {
  return /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;
}

/** Reads `host[:container[:access]]` or `host:access`. @throws UsageError */
function parseDevice(text: string): DeviceRequest {
  const option = `--device '${text}'`;
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === '')) {
    throw new UsageError(`${option} is not host[:container[:rwm]], with no part empty`);
  }
  const [hostPath, second, third] = parts as [string, string?, string?];
  if (!hostPath.startsWith('/')) throw new UsageError(`${option}: '${hostPath}' is not an absolute path of the host`);
  const isShort = third === undefined && second !== undefined && isAccess(second);
  const access = isShort ? second : (third ?? 'rwm');
  if (!isAccess(access)) throw new UsageError(`${option}: '${access}' is not made of r, w and m, each at most once`);
  if (access.length < 3) {
    throw new UsageError(`${option}: less access than rwm is not there yet: '${access}' would not be enforced`);
  }
  const containerPath = isShort ? hostPath : (second ?? hostPath);
  return { hostPath: posix.resolve(hostPath), containerPath: checkDestination(option, containerPath) };
}

/** The node or nodes to create: a directory stands for all devices below it. @throws UsageError when there is none */
function requestedDevices(text: string, host: HostReaders): HostDevice[] {
  const { hostPath, containerPath } = parseDevice(text);
  let found: HostDevice[];
  try {
    found = host.devices(hostPath);
  } catch (error) {
    throw new UsageError(`--device '${text}' can't be read: ${error instanceof Error ? error.message : error}`);
  }
  if (found.length === 0) throw new UsageError(`--device '${text}': ${hostPath} is no device, and has none below it`);
  return found.map((device) => ({
    ...device,
    path: posix.resolve(containerPath, posix.relative(hostPath, device.path)),
    fileMode: device.fileMode & 0o7777,
  }));
}

/** Every container has its own of these: runtime-spec's default devices, terminals and shared memory. */
const ownInContainer =
  /^\/dev\/(?:(?:null|zero|full|random|urandom|tty|console|ptmx)$|(?:pts|shm|fd|mqueue|\.lxc|\.lxd-mounts|\.udev)\/)/;

function allDevices(host: HostReaders): HostDevice[] {
  return host
    .devices('/dev')
    .filter(({ path, type }) => type !== 'p' && !ownInContainer.test(path))
    .map((device) => ({ ...device, fileMode: device.fileMode & 0o7777 }));
}

/** linux.devices of the specification; of two with the same path in the container the later one counts. */
export function devices(options: RunOptions, host: HostReaders, problems: Problems): HostDevice[] {
  const all = options.privileged ? allDevices(host) : [];
  const requested = problems.each(options.device, (text) => requestedDevices(text, host)).flat();
  return [...new Map([...all, ...requested].map((device) => [device.path, device])).values()];
}
