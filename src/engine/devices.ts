/** The host's devices in the container: --device, and all of /dev with --privileged; who may use which. Pure. */
import { posix } from 'node:path';
import type { DeviceRule } from '../core/plan/device-rules.ts';
import { checkDestination } from './bind.ts';
import type { HostDevice, HostReaders, LimitOptions, RunOptions } from './options.ts';
import { type Problems, UsageError } from './usage-error.ts';

interface DeviceRequest {
  hostPath: string;
  containerPath: string;
  /** Made of r, w and m. */
  access: string;
}

interface RequestedDevice {
  device: HostDevice;
  access: string;
}

/** linux.devices and linux.resources.devices of the specification. */
interface Devices {
  devices: HostDevice[];
  rules: DeviceRule[];
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
  const containerPath = isShort ? hostPath : (second ?? hostPath);
  return { hostPath: posix.resolve(hostPath), containerPath: checkDestination(option, containerPath), access };
}

/** The node or nodes to create: a directory stands for all devices below it. @throws UsageError when there is none */
function requestedDevices(text: string, host: HostReaders): RequestedDevice[] {
  const { hostPath, containerPath, access } = parseDevice(text);
  let found: HostDevice[];
  try {
    found = host.devices(hostPath);
  } catch (error) {
    throw new UsageError(`--device '${text}' can't be read: ${error instanceof Error ? error.message : error}`);
  }
  if (found.length === 0) throw new UsageError(`--device '${text}': ${hostPath} is no device, and has none below it`);
  return found.map((device) => {
    const path = posix.resolve(containerPath, posix.relative(hostPath, device.path));
    return { device: { ...device, path, fileMode: device.fileMode & 0o7777 }, access };
  });
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

/** A FIFO is no device to the kernel, u is another word for c. */
function ruleFor({ device: { type, major, minor }, access }: RequestedDevice): DeviceRule[] {
  return type === 'p' ? [] : [{ allow: true, type: type === 'b' ? 'b' : 'c', major, minor, access }];
}

/** Reads `c 1:3 mr`, docker's --device-cgroup-rule: what is allowed beside the devices that the container has. @throws UsageError */
function parseDeviceRule(text: string): DeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text);
  if (!match || !isAccess(match[4]!))
    throw new UsageError(
      `--device-cgroup-rule '${text}' is not 'TYPE MAJOR:MINOR ACCESS', such as 'c 10:229 rwm' or 'b 8:* r'`,
    );
  const [, type, major, minor, access] = match as unknown as [string, string, string, string, string];
  const number = (what: string, digits: string, max: number) => {
    if (digits === '*') return -1;
    if (Number(digits) > max) throw new UsageError(`--device-cgroup-rule '${text}': ${what} is at most ${max}`);
    return Number(digits);
  };
  return { allow: true, type, major: number('MAJOR', major, 0xfff), minor: number('MINOR', minor, 0xfffff), access };
}

/**
 * Of two devices with the same path in the container the later one counts. The rules are docker's: everything with
 * --privileged; else what every container has of its own, and --device with the access that was asked for.
 */
export function devices(options: RunOptions, host: HostReaders, problems: Problems): Devices {
  const all = options.privileged ? allDevices(host) : [];
  const requested = problems.each(options.device, (text) => requestedDevices(text, host)).flat();
  const nodes = [...all, ...requested.map(({ device }) => device)];
  const rules = problems.each(options.deviceCgroupRule ?? [], parseDeviceRule);
  const limited = requested.find(({ access }) => access.length < 3);
  if (options.privileged && limited)
    problems.add(`--device with '${limited.access}' can't be kept with --privileged, which allows every access`);
  return {
    devices: [...new Map(nodes.map((device) => [device.path, device])).values()],
    // Those of every container's own devices the plan adds.
    rules: options.privileged
      ? [{ allow: true, access: 'rwm' }]
      : [{ allow: false, access: 'rwm' }, ...requested.flatMap(ruleFor), ...rules],
  };
}

/** For a cgroup of `tinyctr limit`: everything, as long as nobody asks for less. With a rule it has what every container has, and that. */
export function limitedDevices(options: LimitOptions, problems: Problems): DeviceRule[] {
  const { deviceCgroupRule } = options;
  if (!deviceCgroupRule) return [{ allow: true, access: 'rwm' }];
  return [{ allow: false, access: 'rwm' }, ...problems.each(deviceCgroupRule, parseDeviceRule)];
}
