/** The processes of a cgroup. Host side. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Host pids in the cgroup and below. */
export function processesIn(cgroup: string): number[] {
  if (!existsSync(cgroup)) return [];
  const own = readFileSync(`${cgroup}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number);
  const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...own, ...below.flatMap(({ name }) => processesIn(`${cgroup}/${name}`))];
}
