/** What its limits did to a container until now, as `state` has it beside OCI's own fields. Host side. Source: the kernel's cgroup-v2.rst. */
import { cgroupRoot } from '../core/host/cgroup.ts';
import { type Counters, parseCgroupFile } from '../lifecycle/statistics.ts';
import { readCgroupFile } from '../lifecycle/update.ts';

/** Counts, and nanoseconds as in `events`; what is 0 is left out. The cgroup stays until delete, so this is told of a stopped one as well. */
export function limitsHit(path: string): Counters {
  const folder = cgroupRoot() + path;
  const counters = (file: string): Counters => parseCgroupFile(file, readCgroupFile(folder, file) ?? '') as Counters;
  const { nr_throttled: throttledPeriods = 0, throttled_usec: throttledUs = 0 } = counters('cpu.stat');
  const hits = {
    oomKills: counters('memory.events').oom_kill ?? 0,
    refusedProcesses: counters('pids.events').max ?? 0,
    ...{ throttledPeriods, throttledTime: throttledUs * 1000 },
  };
  return Object.fromEntries(Object.entries(hits).filter(([, count]) => count > 0));
}
