/** Limits of the spec as cgroup v2 files. Pure. Source: runtime-spec config-linux.md "Control groups", the kernel's cgroup-v2.rst. */
import { ContainerError } from '../kernel/error.ts';
import type { Resources, Throttle } from '../spec/types.ts';
import { defaultDeviceRules, deviceProgram } from './device-rules.ts';
import type { CgroupFile, CgroupPlan } from './plan.ts';

/** What a new cgroup has anyway: asking for it needs no controller. */
const kernelDefaults: Record<string, string> = {
  ...{ 'memory.max': 'max', 'memory.swap.max': 'max', 'pids.max': 'max', 'cpu.max': 'max 100000' },
  ...{ 'cpu.idle': '0', 'cpu.max.burst': '0' },
};

export function planCgroup(path: string, resources: Resources): CgroupPlan {
  const files = planLimits(resources);
  // The container's own devices are always allowed, as runc and crun have it: clients send no more than "deny all".
  const rules = [...(resources.devices ?? []), ...defaultDeviceRules];
  const program = deviceProgram(rules);
  return { path, files, ...(program && { devices: { program } }) };
}

/**
 * In the order in which the kernel takes them. memory.max comes late: lowering it may kill, and no error of an earlier file may
 * come after that. @throws ContainerError with the pointer of a value that contradicts another
 */
export function planLimits(resources: Resources): CgroupFile[] {
  const { memory, cpu, pids, blockIO, hugepageLimits, rdma, unified } = resources;
  return [
    ...(cpu ? [...cpuFiles(cpu), ...cpusetFiles(cpu)] : []),
    ...pidsFiles(pids ?? {}),
    ...(blockIO ? [...weightFiles(blockIO), ...throttleFiles(blockIO)] : []),
    ...(hugepageLimits ?? []).flatMap(hugetlbFiles),
    ...(rdma ? rdmaFiles(rdma) : []),
    ...(memory ? memoryFiles(memory) : []),
    ...unifiedFiles(unified ?? {}),
  ];
}

function cgroupFile(option: string, file: string, value: string, more: Partial<CgroupFile> = {}): CgroupFile {
  const base = { controller: file.slice(0, file.indexOf('.')), file, value, option, ...more };
  return kernelDefaults[file] === value ? { ...base, ifPresent: true } : base;
}

/** From 2^63 on the kernel's parser would wrap around; no machine has as much. */
const orMax = (limit: number): string => (limit < 0 || limit >= 2 ** 63 ? 'max' : String(limit));

/**
 * memory.swap.max counts swap alone, OCI's swap memory and swap together. Without a limit of memory swap has none either, as runc
 * has it; undefined leaves it. @throws ContainerError
 */
export function swapMax(limit = 0, swap = 0): string | undefined {
  if (swap === 0) return limit < 0 ? 'max' : undefined;
  if (swap < 0) return 'max';
  if (limit > 0 && limit <= swap) return orMax(swap - limit);
  throw new ContainerError(
    `memory.swap is ${swap}, for memory and swap together: it wants a memory.limit that is not larger`,
    { specPointer: '/linux/resources/memory/swap' },
  );
}

/** Swap first: what a smaller memory.max pushes out has somewhere to go. A kernel without swap has no file for it, and nothing to limit. */
function memoryFiles({ limit, reservation, swap, checkBeforeUpdate }: NonNullable<Resources['memory']>): CgroupFile[] {
  const files: CgroupFile[] = [];
  const swapValue = swapMax(limit, swap);
  if (swapValue) files.push(cgroupFile('swap limit', 'memory.swap.max', swapValue, { ifPresent: true }));
  if (reservation) files.push(cgroupFile('memory reservation', 'memory.low', orMax(reservation)));
  const above = checkBeforeUpdate ? { above: 'memory.current' } : {};
  if (limit) files.push(cgroupFile('memory limit', 'memory.max', orMax(limit), above));
  return files;
}

/** cpu.shares (2 to 262144, default 1024) to cpu.weight (1 to 10000, default 100): the quadratic formula of runc 1.3 and crun 1.23. */
export function cpuSharesToWeight(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const l = Math.log2(shares);
  return Math.ceil(10 ** ((l * l + 125 * l) / 612 - 7 / 34));
}

/**
 * An idle cgroup takes no weight, so cpu.idle comes after the weight if it is set, before it if it is cleared. The kernel wants
 * burst <= quota at any moment: between the old pair and the new one there is no burst.
 */
function cpuFiles({ shares, quota, period, burst, idle }: NonNullable<Resources['cpu']>): CgroupFile[] {
  if (burst && quota && quota > 0 && burst > quota)
    throw new ContainerError(`cpu.burst is ${burst}; it must not be larger than cpu.quota, ${quota}`, {
      specPointer: '/linux/resources/cpu/burst',
    });
  const files: CgroupFile[] = [];
  const burstFile = (value: number) => cgroupFile('CPU burst', 'cpu.max.burst', String(value));
  if (shares) files.push(cgroupFile('CPU share', 'cpu.weight', String(cpuSharesToWeight(shares))));
  if (idle !== undefined) files[idle ? 'push' : 'unshift'](cgroupFile('CPU idle', 'cpu.idle', String(idle)));
  if (burst && quota) files.push(burstFile(0));
  if (quota || period) files.push(cgroupFile('CPU limit', 'cpu.max', `${orMax(quota || -1)} ${period || 100000}`));
  if (burst !== undefined) files.push(burstFile(burst));
  return files;
}

/** Lists such as 0-3,7; the kernel knows which of them there are. */
function cpusetFiles({ cpus, mems }: NonNullable<Resources['cpu']>): CgroupFile[] {
  return [
    ...(cpus ? [cgroupFile('list of CPUs', 'cpuset.cpus', cpus)] : []),
    ...(mems ? [cgroupFile('list of memory nodes', 'cpuset.mems', mems)] : []),
  ];
}

/** 0 is a limit since runtime-spec 1.3, and at 0 no process could be born in the cgroup: it means what 1 means, as in runc 1.4. */
function pidsFiles({ limit }: NonNullable<Resources['pids']>): CgroupFile[] {
  return limit === undefined ? [] : [cgroupFile('limit of processes', 'pids.max', orMax(limit || 1))];
}

/** blkio's 10 to 1000 to io.weight's 1 to 10000: runc's formula. io.bfq.weight takes blkio's as it is. */
export function blkioToIoWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

/** Of all devices, or of one by its number. io.bfq.weight is there if the BFQ scheduler is loaded. */
function weightFiles({ weight, weightDevice = [] }: NonNullable<Resources['blockIO']>): CgroupFile[] {
  const weights: [device: string, weight: number | undefined][] = [
    ['', weight],
    ...weightDevice.map((each): [string, number | undefined] => [`${each.major}:${each.minor} `, each.weight]),
  ];
  return weights.flatMap(([device, value]) => {
    if (!value) return [];
    const otherwise = { file: 'io.weight', value: `${device}${blkioToIoWeight(value)}` };
    return [cgroupFile('weight of block devices', 'io.bfq.weight', `${device}${value}`, { otherwise })];
  });
}

const throttles = [
  ['throttleReadBpsDevice', 'rbps'],
  ['throttleWriteBpsDevice', 'wbps'],
  ['throttleReadIOPSDevice', 'riops'],
  ['throttleWriteIOPSDevice', 'wiops'],
] as const;

/** io.max: one line a device, MAJOR:MINOR rbps= wbps= riops= wiops=. A rate of 0 is none, as it was in v1. */
function throttleFiles(blockIO: NonNullable<Resources['blockIO']>): CgroupFile[] {
  const lines = new Map<string, string>();
  const add =
    (key: string) =>
    ({ major, minor, rate }: Throttle) => {
      const device = `${major}:${minor}`;
      lines.set(device, `${lines.get(device) ?? device} ${key}=${orMax(rate || -1)}`);
    };
  for (const [field, key] of throttles) blockIO[field]?.forEach(add(key));
  return lines.size > 0 ? [cgroupFile('limit of block devices', 'io.max', [...lines.values()].join('\n'))] : [];
}

/** Use, and where the kernel counts them (Linux 5.7), reservations: those fail at mmap, not by SIGBUS later. */
function hugetlbFiles({ pageSize, limit }: NonNullable<Resources['hugepageLimits']>[number]): CgroupFile[] {
  const option = `limit of ${pageSize} pages`;
  return [
    cgroupFile(option, `hugetlb.${pageSize}.max`, orMax(limit)),
    cgroupFile(option, `hugetlb.${pageSize}.rsvd.max`, orMax(limit), { ifPresent: true }),
  ];
}

/** rdma.max: one line a device. */
function rdmaFiles(rdma: NonNullable<Resources['rdma']>): CgroupFile[] {
  const lines = Object.entries(rdma).map(([device, { hcaHandles, hcaObjects }]) => {
    const handles = hcaHandles === undefined ? '' : ` hca_handle=${hcaHandles}`;
    return `${device}${handles}${hcaObjects === undefined ? '' : ` hca_object=${hcaObjects}`}`;
  });
  return lines.length > 0 ? [cgroupFile('RDMA limit', 'rdma.max', lines.join('\n'))] : [];
}

/** A controller's files by name. cgroup.* are no limits but the runtime's own tools: cgroup.kill, cgroup.procs. */
function unifiedFiles(unified: NonNullable<Resources['unified']>): CgroupFile[] {
  return Object.entries(unified).map(([file, value]) => {
    if (!/^[a-z_]\w*(\.[\w-]+)+$/.test(file) || file.startsWith('cgroup.'))
      throw new ContainerError(
        `the specified key has not the form CONTROLLER.VALUE \`${file}\`: allowed are files of a controller, such as memory.high`,
        { specPointer: `/linux/resources/unified/${file.replaceAll('~', '~0').replaceAll('/', '~1')}` },
      );
    return cgroupFile(`value of ${file}`, file, value);
  });
}
