/** Disks in a cgroup: --blkio-weight, --blkio-weight-device, --device-read-bps and its kin. Pure. */
import type { Resources } from '../core/spec/types.ts';
import type { HostReaders, LimitOptions } from './options.ts';
import { parseSize, parseWhole } from './sizes.ts';
import { type Problems, UsageError } from './usage-error.ts';

type BlockIO = NonNullable<Resources['blockIO']>;
type Disk = { major: number; minor: number };

/** docker's range, cgroup v1's; 0 is no weight. */
function parseWeight(option: string, text: string): number {
  return text === '0' ? 0 : parseWhole(option, text, 10, 1000);
}

/** The block device of `path`. The kernel limits whole disks: a partition's number is refused there as "no such device". */
function disk(option: string, path: string, host: HostReaders): Disk {
  const [device] = host.exists(path) ? host.devices(host.realPath(path)) : [];
  if (device?.type !== 'b' || device.path !== host.realPath(path))
    throw new UsageError(`${option}: ${path} is no block device`);
  const { major, minor } = device;
  if (host.exists(`/sys/dev/block/${major}:${minor}/partition`))
    throw new UsageError(`${option}: ${path} is a partition, and the kernel limits whole disks: name its disk`);
  return { major, minor };
}

function parseRate(option: string, text: string): number {
  const rate = option.endsWith('bps') ? parseSize(option, text) : parseWhole(option, text, 0, Number.MAX_SAFE_INTEGER);
  if (rate === 0)
    throw new UsageError(`${option} '${text}': a rate of 0 would stop the disk; leave the option out for no limit`);
  return rate;
}

/** Reads `/dev/name:value` of each; of two for one disk the later one counts. */
function perDisk<T>(
  option: string,
  texts: readonly string[] | undefined,
  host: HostReaders,
  problems: Problems,
  parse: (option: string, text: string) => T,
): (Disk & { value: T })[] {
  const read = (text: string) => {
    const at = text.lastIndexOf(':'); // /dev/disk/by-path has names with colons
    const [path, value] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
    if (!path.startsWith('/') || value === '') throw new UsageError(`${option} '${text}' is not /dev/name:value`);
    return { ...disk(option, path, host), value: parse(option, value) };
  };
  const all = problems.each(texts ?? [], read);
  return [...new Map(all.map((one) => [`${one.major}:${one.minor}`, one])).values()];
}

/** linux.resources.blockIO; empty when nothing was asked for. */
export function blockIO(options: LimitOptions, host: HostReaders, problems: Problems): BlockIO {
  const { blkioWeight } = options;
  const weight = blkioWeight && problems.attempt(() => parseWeight('--blkio-weight', blkioWeight), 0);
  const result: BlockIO = weight ? { weight } : {};
  if (options.blkioWeightDevice)
    result.weightDevice = perDisk('--blkio-weight-device', options.blkioWeightDevice, host, problems, parseWeight)
      .filter(({ value }) => value > 0)
      .map(({ value, ...numbers }) => ({ ...numbers, weight: value }));
  const rates = (option: string, texts: readonly string[]) =>
    perDisk(option, texts, host, problems, parseRate).map(({ value, ...numbers }) => ({ ...numbers, rate: value }));
  const { deviceReadBps, deviceWriteBps, deviceReadIops, deviceWriteIops } = options;
  if (deviceReadBps) result.throttleReadBpsDevice = rates('--device-read-bps', deviceReadBps);
  if (deviceWriteBps) result.throttleWriteBpsDevice = rates('--device-write-bps', deviceWriteBps);
  if (deviceReadIops) result.throttleReadIOPSDevice = rates('--device-read-iops', deviceReadIops);
  if (deviceWriteIops) result.throttleWriteIOPSDevice = rates('--device-write-iops', deviceWriteIops);
  return result;
}
