/** `events`: what a container uses, now and then, and when the kernel has killed for memory. Host side. */
import { existsSync, watch } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { processesIn } from '../lifecycle/processes.ts';
import { parseCgroupFile, readStatistics } from '../lifecycle/statistics.ts';
import { readCgroupFile } from '../lifecycle/update.ts';
import { eventLine, runcStats } from './runc-stats.ts';
import { findContainer } from './state.ts';

function cgroupOf(root: string, id: string): string {
  const { state, status } = findContainer(root, id);
  if (status === 'stopped') throw new ContainerError(`container with id ${id} is not running`);
  return cgroupRoot() + state.cgroup;
}

const statsLine = (id: string, cgroup: string) =>
  eventLine({ type: 'stats', id, data: runcStats(readStatistics(cgroup), processesIn(cgroup).length) });

export function printStats(root: string, id: string): void {
  process.stdout.write(statsLine(id, cgroupOf(root, id)));
}

/** Returns when no process is left in the container's cgroup, or nobody reads any more. */
export async function followEvents(root: string, id: string, intervalMs: number): Promise<void> {
  const cgroup = cgroupOf(root, id);
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  process.stdout.once('error', end);
  let killed = countKills(cgroup);
  const look = () => {
    for (const now = countKills(cgroup); killed < now; killed++) process.stdout.write(eventLine({ type: 'oom', id }));
    if (!/^populated 1$/m.test(readCgroupFile(cgroup, 'cgroup.events') ?? '')) end();
  };
  // The kernel tells inotify when one of these changes, but not when the cgroup is removed: the interval finds that.
  const files = ['memory.events', 'cgroup.events']
    .map((name) => `${cgroup}/${name}`)
    .filter((file) => existsSync(file));
  const watchers = files.map((file) => watch(file, look).on('error', look));
  const timer = setInterval(() => {
    look();
    if (existsSync(cgroup)) process.stdout.write(statsLine(id, cgroup));
  }, intervalMs);
  look();
  await ended;
  clearInterval(timer);
  for (const watcher of watchers) watcher.close();
}

/** 0 without the memory controller. */
function countKills(cgroup: string): number {
  const text = readCgroupFile(cgroup, 'memory.events');
  return text === undefined ? 0 : ((parseCgroupFile('memory.events', text) as Record<string, number>).oom_kill ?? 0);
}
