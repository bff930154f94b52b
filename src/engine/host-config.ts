/** HostConfig of `inspect`: what was asked of the host for a container. Pure. */
import type { Rlimit } from '../core/spec/types.ts';
import type { Asked, LogOptions, StoredContainer } from './stored-file.ts';

const NANO = 1e9;

/** Numbers are 0, lists null, words '' where nothing was asked, as docker has it. */
export function hostConfig(stored: StoredContainer): Record<string, unknown> {
  const { wanted, restart, log, rm, etc, asked } = stored;
  const { resources, cgroupsPath = '', maskedPaths = null, readonlyPaths = null } = wanted.spec.linux ?? {};
  const { memory, cpu, pids, blockIO } = resources ?? {};
  const { network, pid, ipc, uts, cgroup } = wanted.hostNamespaces;
  const quota = cpu?.quota ?? 0;
  return {
    ...(asked && askedFor(asked)),
    LogConfig: logConfig(log),
    RestartPolicy: { Name: restart.name, MaximumRetryCount: restart.maxRetries },
    AutoRemove: rm,
    NetworkMode: network ? 'host' : 'none',
    PidMode: pid ? 'host' : '',
    IpcMode: ipc ? 'host' : 'private',
    UTSMode: uts ? 'host' : '',
    CgroupnsMode: cgroup ? 'host' : 'private',
    CgroupParent: cgroupsPath.replace(/\/[^/]*$/, ''),
    Dns: etc.dns,
    ExtraHosts: listed(etc.addHost),
    GroupAdd: listed(wanted.groupAdd),
    OomScoreAdj: wanted.spec.process?.oomScoreAdj ?? 0,
    ReadonlyRootfs: wanted.spec.root?.readonly === true,
    ShmSize: shmSize(stored),
    ...(wanted.init && { Init: true }),
    Memory: memory?.limit ?? 0,
    MemorySwap: memory?.swap ?? 0,
    MemoryReservation: memory?.reservation ?? 0,
    NanoCpus: quota > 0 ? Math.round((NANO * quota) / (cpu?.period ?? 100_000)) : 0,
    CpuShares: cpu?.shares ?? 0,
    CpuQuota: quota,
    CpuPeriod: cpu?.period ?? 0,
    CpusetCpus: cpu?.cpus ?? '',
    CpusetMems: cpu?.mems ?? '',
    PidsLimit: pids?.limit ?? null,
    BlkioWeight: blockIO?.weight ?? 0,
    Ulimits: (wanted.spec.process?.rlimits ?? []).map(ulimit),
    MaskedPaths: maskedPaths,
    ReadonlyPaths: readonlyPaths,
  };
}

const listed = (words: readonly string[] = []): readonly string[] | null => (words.length > 0 ? words : null);

function askedFor(asked: Asked): Record<string, unknown> {
  return {
    Binds: listed(asked.volume.filter((text) => text.includes(':'))), // the others are anonymous volumes
    ContainerIDFile: asked.cidfile,
    CapAdd: capabilities(asked.capAdd),
    CapDrop: capabilities(asked.capDrop),
    Privileged: asked.privileged,
    SecurityOpt: listed(asked.securityOpt),
    UsernsMode: asked.userns,
    DeviceCgroupRules: listed(asked.deviceCgroupRule),
    ...(asked.tmpfs.length > 0 && { Tmpfs: Object.fromEntries(asked.tmpfs.map(tmpfsOf)) }),
  };
}

const capabilities = (names: readonly string[]): readonly string[] | null =>
  listed(names.map((name) => name.toUpperCase().replace(/^(?!ALL$|CAP_)/, 'CAP_')));

function tmpfsOf(text: string): [string, string] {
  const [place = '', ...options] = text.split(':');
  return [place, options.join(':')];
}

function logConfig({ driver, maxSize, maxFiles }: LogOptions): { Type: string; Config: Record<string, string> } {
  const size = maxSize > 0 ? { 'max-size': String(maxSize) } : {};
  const files = maxFiles > 1 ? { 'max-file': String(maxFiles) } : {};
  return { Type: driver, Config: { ...size, ...files } };
}

const ulimit = ({ type, soft, hard }: Rlimit) => ({
  Name: type.replace(/^RLIMIT_/, '').toLowerCase(),
  Hard: hard,
  Soft: soft,
});

/** Bytes of /dev/shm. */
function shmSize({ wanted }: StoredContainer): number {
  const shm = wanted.spec.mounts?.find(({ destination }) => destination === '/dev/shm');
  return Number(shm?.options?.map((option) => /^size=(\d+)$/.exec(option)?.[1]).find(Boolean) ?? 0);
}
