/** This host as `info` tells it, with docker's names. Host side. */
import { existsSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, hostname, machine, release, totalmem } from 'node:os';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { listIds } from '../image/records.ts';
import { factsOf } from './container-facts.ts';
import { listContainers } from './containers.ts';

/** As Go calls it, and with it docker: amd64. */
export const goArch = (): string => ({ x64: 'amd64', ia32: '386' })[arch() as string] ?? arch();

export function hostFacts(root: string, runRoot: string, version: string) {
  const statuses = factsOf(root, runRoot, listContainers(root)).map(({ status }) => status);
  const count = (...wanted: string[]) => statuses.filter((status) => wanted.includes(status)).length;
  const controllers = controllersHere();
  const has = (name: string) => controllers.includes(name);
  const system = osRelease();
  return {
    Containers: statuses.length,
    ContainersRunning: count('running', 'restarting'),
    ContainersPaused: count('paused'),
    ContainersStopped: count('created', 'exited'),
    Images: listIds(root).length,
    Driver: 'overlay2',
    MemoryLimit: has('memory'),
    SwapLimit: has('memory') && existsSync('/proc/swaps'),
    CpuCfsPeriod: has('cpu'),
    CpuCfsQuota: has('cpu'),
    CPUShares: has('cpu'),
    CPUSet: has('cpuset'),
    PidsLimit: has('pids'),
    SystemTime: new Date().toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: '2',
    KernelVersion: release(),
    ...(system.PRETTY_NAME && { OperatingSystem: system.PRETTY_NAME }),
    ...(system.VERSION_ID && { OSVersion: system.VERSION_ID }),
    OSType: 'linux',
    Architecture: machine(),
    NCPU: availableParallelism(),
    MemTotal: totalmem(),
    DockerRootDir: root,
    Name: hostname(),
    ServerVersion: version,
    LiveRestoreEnabled: true,
    SecurityOptions: ['name=seccomp,profile=builtin', 'name=cgroupns'],
    Warnings: warnings(controllers),
  };
}

/** What limits can be kept with: the controllers that a container's cgroup may have. */
function controllersHere(): string[] {
  try {
    return readFileSync(`${cgroupRoot()}/cgroup.controllers`, 'utf8').trim().split(' ').filter(Boolean);
  } catch {
    return [];
  }
}

/** As docker words them; null where nothing is missing. */
function warnings(controllers: readonly string[]): string[] | null {
  const needed = { memory: 'memory limit', cpu: 'cpu cfs quota', cpuset: 'cpuset', pids: 'pids limit', io: 'io' };
  const missing = Object.entries(needed).filter(([name]) => !controllers.includes(name));
  return missing.length === 0 ? null : missing.map(([, words]) => `WARNING: No ${words} support`);
}

/** os-release(5). */
function osRelease(): Record<string, string | undefined> {
  const path = ['/etc/os-release', '/usr/lib/os-release'].find((file) => existsSync(file));
  const lines = path === undefined ? [] : readFileSync(path, 'utf8').split('\n');
  const pairs = lines.map((line) => /^([A-Z_]+)=["']?(.*?)["']?$/.exec(line)).filter((pair) => pair !== null);
  return Object.fromEntries(pairs.map(([, name, value]) => [name, value]));
}
