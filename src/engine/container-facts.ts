/** What is known of a container, with docker's names: for ps, inspect and events. What is true in the kernel comes first. Host side. */
import { readFileSync, statSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { humanAge } from '../image/present.ts';
import { readRunState } from '../lifecycle/state.ts';
import { bootId, type ContainerRecord, isLost } from './containers.ts';
import { signalName } from './identity.ts';
import { LOG_NAME } from './logs.ts';
import { readStored, type StoredContainer } from './stored-file.ts';

/** In the run root, as native-shim/keeper.h has it. */
export const KEEPER_LOCK = '.supervisor.lock';

export type Status = 'created' | 'running' | 'paused' | 'restarting' | 'exited';

/** Not to be removed as it is; listed without --all. */
export const isUp = (status: Status): boolean => ['running', 'paused', 'restarting'].includes(status);

export interface Facts {
  record: ContainerRecord;
  status: Status;
  /** 0 while it does not run. */
  pid: number;
  /** On the host; undefined while it does not run. */
  cgroup: string | undefined;
}

/** Of each container; who runs is told by locks, which `cleanup` has looked at. */
export function factsOf(runRoot: string, records: readonly ContainerRecord[]): Facts[] {
  const top = records.length > 0 ? cgroupRoot() : '';
  return records.map((record) => {
    const state = readRunState(runRoot, record.id);
    const cgroup = state && top + state.cgroup;
    return { record, status: statusOf(runRoot, record, cgroup), pid: state?.pid ?? 0, cgroup };
  });
}

function statusOf(runRoot: string, record: ContainerRecord, cgroup: string | undefined): Status {
  if (cgroup !== undefined) return isFrozen(cgroup) ? 'paused' : 'running';
  if (record.dueMs !== undefined && record.boot === bootId() && isKept(runRoot)) return 'restarting';
  return record.ended || record.started || isLost(record) ? 'exited' : 'created';
}

/** Somebody is there who will start what is to be started: the keeper holds its lock. proc_locks(5): asking for the lock itself could keep a keeper from beginning. */
function isKept(runRoot: string): boolean {
  const ino = statSync(`${runRoot}/${KEEPER_LOCK}`, { throwIfNoEntry: false })?.ino;
  const locks = readFileSync('/proc/locks', 'latin1');
  return ino !== undefined && new RegExp(`FLOCK +ADVISORY +WRITE \\d+ [0-9a-f]+:[0-9a-f]+:${ino} `).test(locks);
}

function isFrozen(cgroup: string): boolean {
  try {
    return /^frozen 1$/m.test(readFileSync(`${cgroup}/cgroup.events`, 'utf8'));
  } catch {
    return false; // it is not there yet, or no more
  }
}

const span = (from: string, now: number): string => humanAge(from, now).replace(/ ago$/, '');

const hitWords = { memory: 'out of memory', pids: 'processes refused', cpu: 'throttled' };

/** docker's column STATUS, and which limits it hit. */
export function statusText({ record, status }: Facts, now: number): string {
  const { started, created, ended } = record;
  const up = `Up ${span(started ?? created, now)}`;
  if (status === 'running') return up;
  if (status === 'paused') return `${up} (Paused)`;
  if (isLost(record)) return 'Lost: the machine was started anew (tinyctr cleanup)';
  if (!ended) return 'Created';
  if (status === 'restarting') return `Restarting (${ended.exitCode}) ${humanAge(ended.at, now)}`;
  const hit = Object.keys(ended.limitsHit ?? {}) as (keyof typeof hitWords)[];
  return [`Exited (${ended.exitCode}) ${humanAge(ended.at, now)}`, ...hit.map((limit) => hitWords[limit])].join(', ');
}

const never = '0001-01-01T00:00:00Z';

/** One element of what `docker inspect` prints, as far as it concerns this engine. */
export function inspectContainer(root: string, runRoot: string, facts: Facts): Record<string, unknown> {
  const { record, status, pid } = facts;
  const { id, ended } = record;
  const stored = readStored(root, id);
  const { process, hostname } = stored.wanted.spec;
  return {
    Id: id,
    Created: record.created,
    Path: record.command[0],
    Args: record.command.slice(1),
    State: {
      Status: status,
      Running: isUp(status), // also while it waits for its next start, as with docker
      Paused: status === 'paused',
      Restarting: status === 'restarting',
      OOMKilled: ended?.limitsHit?.memory !== undefined,
      Dead: false,
      Pid: pid,
      ExitCode: ended?.exitCode ?? 0,
      Error: '',
      StartedAt: record.started ?? never,
      FinishedAt: ended?.at ?? never,
    },
    Image: `sha256:${record.image}`,
    ResolvConfPath: `${runRoot}/${id}/resolv.conf`,
    HostnamePath: `${runRoot}/${id}/hostname`,
    HostsPath: `${runRoot}/${id}/hosts`,
    LogPath: stored.log.driver === 'none' ? '' : `${root}/containers/${id}/${LOG_NAME}`,
    Name: `/${record.name ?? ''}`,
    RestartCount: record.restarts ?? 0,
    Driver: 'overlay2',
    Platform: 'linux',
    HostConfig: hostConfig(stored),
    Mounts: (stored.wanted.spec.mounts ?? [])
      .filter(({ options = [] }) => options.some((option) => /^r?bind$/.test(option)))
      .filter(({ source = '' }) => !source.startsWith(`${runRoot}/${id}/`))
      .map(({ source, destination, options = [] }) => ({
        Type: 'bind',
        Source: source,
        Destination: destination,
        Mode: options.filter((option) => option !== 'rbind' && option !== 'bind').join(','),
        RW: !options.some((option) => option === 'ro' || option === 'rro'),
      })),
    Config: {
      Hostname: stored.wanted.hostname,
      Domainname: '',
      User: stored.wanted.user,
      Tty: stored.tty,
      OpenStdin: stored.interactive,
      Env: process?.env ?? [],
      Cmd: record.command,
      Image: record.imageName,
      WorkingDir: process?.cwd ?? '/',
      Labels: record.labels,
      StopSignal: signalName(record.stopSignal ?? 15),
      StopTimeout: stored.stopTimeoutS,
    },
    NetworkSettings: { Networks: hostname === undefined && stored.wanted.hostNamespaces.network ? { host: {} } : {} },
  };
}

function hostConfig({ wanted, restart, log, rm }: StoredContainer): Record<string, unknown> {
  const { resources, cgroupsPath = '' } = wanted.spec.linux ?? {};
  const { memory, cpu, pids } = resources ?? {};
  const options = {
    'max-size': log.maxSize && String(log.maxSize),
    'max-file': log.maxFiles > 1 && String(log.maxFiles),
  };
  return {
    RestartPolicy: { Name: restart.name, MaximumRetryCount: restart.maxRetries },
    AutoRemove: rm,
    LogConfig: { Type: log.driver, Config: Object.fromEntries(Object.entries(options).filter(([, value]) => value)) },
    NetworkMode: wanted.hostNamespaces.network ? 'host' : 'none',
    CgroupParent: cgroupsPath.replace(/\/[^/]*$/, ''),
    Memory: memory?.limit ?? 0,
    MemorySwap: memory?.swap ?? 0,
    MemoryReservation: memory?.reservation ?? 0,
    CpuShares: cpu?.shares ?? 0,
    CpuQuota: cpu?.quota ?? 0,
    CpuPeriod: cpu?.period ?? 0,
    CpusetCpus: cpu?.cpus ?? '',
    CpusetMems: cpu?.mems ?? '',
    PidsLimit: pids?.limit ?? null,
    Init: wanted.init,
    ReadonlyRootfs: wanted.spec.root?.readonly === true,
  };
}
