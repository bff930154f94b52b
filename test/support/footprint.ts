/** What containers of an engine leave on a host, counted: mounts, cgroups, processes, descriptors, files. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cgroups, type Engine, readIfThere } from './tinyctr.ts';

/** Of this mount namespace and of the supervisor's and the keeper's, who are in it; `pids`: theirs. */
export function footprint(engine: Engine, pids: readonly number[]): Record<string, unknown> {
  const mounts = (pid: number | 'self') => readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n').length;
  return {
    mounts: ['self' as const, ...pids].map(mounts),
    cgroups: cgroups().filter((id) => engine.containers().includes(id)),
    processes: processesOf(engine),
    descriptors: pids.map(descriptorsOf),
    containers: readdirSync(`${engine.root}/containers`).sort(),
    names: readdirSync(`${engine.root}/containers/.names`).sort(),
    states: engine.states().sort(),
    layers: readdirSync(`${engine.root}/layers`).sort(),
  };
}

/** Command lines that name one of the engine's folders, and roots below them: its programs, and its containers' processes. */
function processesOf(engine: Engine): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      const words = readIfThere(`/proc/${pid}/cmdline`);
      return (
        words.includes(engine.folder) ||
        engine.containers().some((id) => readIfThere(`/proc/${pid}/cgroup`).includes(id))
      );
    })
    .map((pid) => readIfThere(`/proc/${pid}/comm`).trim())
    .sort();
}

/** What is behind each, without numbers that are new each time. */
function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:\[\d+\]/, '')];
      } catch {
        return [];
      }
    })
    .sort();
}
