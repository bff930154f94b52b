/** Statistics in the format of runc's `events`: names of cgroup v1, times in nanoseconds, what is 0 mostly left out. Pure. */
import type { CgroupStatistics, Counters, Usage } from '../lifecycle/statistics.ts';

/** uint64's largest is runc's word for no limit; no JavaScript number can be it. */
const noLimit = '18446744073709551615';

/** Without fields that are 0, as Go's omitempty. */
const withoutZeros = (fields: Record<string, number | undefined>): Counters =>
  Object.fromEntries(Object.entries(fields).filter((field): field is [string, number] => Boolean(field[1])));

/** `processes` are counted where the pids controller does not. */
export function runcStats(statistics: CgroupStatistics, processes: number): Record<string, unknown> {
  const { cpu, memory, pids, io, hugetlb = {} } = statistics;
  const stat = cpu?.stat ?? {};
  const ns = (field: string): number => (stat[field] ?? 0) * 1000;
  return {
    cpu: {
      usage: { ...withoutZeros({ total: ns('usage_usec') }), kernel: ns('system_usec'), user: ns('user_usec') },
      throttling: withoutZeros({
        periods: stat.nr_periods,
        throttledPeriods: stat.nr_throttled,
        throttledTime: ns('throttled_usec'),
      }),
      ...psi(cpu),
    },
    cpuset: Object.fromEntries(cpusetNames.map((name) => [name, 0])),
    memory: {
      ...withoutZeros({ cache: memory?.stat.file }),
      usage: entry(memory),
      swap: entry(memory?.swap && together(memory, memory.swap)),
      kernel: entry(undefined),
      kernelTCP: entry(undefined),
      ...(memory ? { raw: memory.stat } : {}),
      ...psi(memory),
    },
    pids: withoutZeros({
      current: pids?.current ?? processes,
      limit: Number.isFinite(pids?.max) ? pids?.max : 0,
      refused: pids?.events?.max, // runc has no such field
    }),
    blkio: { ...blkio(io?.stat ?? {}), ...psi(io) },
    hugetlb: Object.fromEntries(
      Object.entries(hugetlb).map(([size, use]) => [
        size,
        { ...withoutZeros({ usage: use.current }), failcnt: use.events?.max ?? 0 },
      ]),
    ),
    intel_rdt: {},
    network_interfaces: null,
  };
}

/** Always 0 on cgroup v2. */
const cpusetNames = [
  ...['cpu_exclusive', 'mem_hardwall', 'mem_exclusive', 'memory_migrate', 'memory_spread_page', 'memory_spread_slab'],
  ...['memory_pressure', 'sched_load_balance', 'sched_relax_domain_level'],
];

const psi = (controller: { pressure?: unknown } | undefined) =>
  controller?.pressure ? { psi: controller.pressure } : {};

function entry(usage: Usage | undefined): Record<string, number> {
  return { limit: usage?.max ?? 0, ...withoutZeros({ usage: usage?.current, max: usage?.peak }), failcnt: 0 };
}

/** Memory and swap in one, as v1 had it; they have no common peak. */
function together(memory: Usage, swap: Usage): Usage {
  return { current: memory.current + swap.current, max: memory.max + swap.max };
}

function blkio(devices: Record<string, Counters>): Record<string, unknown> {
  const tables = { ioServiceBytesRecursive: ['rbytes', 'wbytes'], ioServicedRecursive: ['rios', 'wios'] } as const;
  const rows = ([read, write]: readonly [string, string]) =>
    Object.entries(devices).flatMap(([device, counters]) => {
      const [major, minor] = device.split(':').map(Number);
      const row = (op: string, value = 0) => ({ ...withoutZeros({ major, minor }), op, ...withoutZeros({ value }) });
      return Object.keys(counters).length > 0 ? [row('Read', counters[read]), row('Write', counters[write])] : [];
    });
  return Object.fromEntries(
    Object.entries(tables).flatMap(([name, pair]) => {
      const found = rows(pair);
      return found.length > 0 ? [[name, found]] : [];
    }),
  );
}

/** One line of JSON. */
export function eventLine(event: { type: string; id: string; data?: unknown }): string {
  const text = JSON.stringify(event, (_key, value) => (value === Number.POSITIVE_INFINITY ? noLimit : value));
  return `${text.replaceAll(`"${noLimit}"`, noLimit)}\n`;
}
