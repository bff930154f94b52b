/** What `inspect` prints of a container: docker's names, each with docker's type. What can't be told truthfully is left out. Host side. */
import type { Mount } from '../core/spec/types.ts';
import type { Image } from '../image/records.ts';
import { findImage, layersFolder } from '../image/store.ts';
import { type Facts, isUp } from './container-facts.ts';
import { writtenSize } from './disk-usage.ts';
import { hostConfig } from './host-config.ts';
import { signalName } from './identity.ts';
import { LOG_NAME } from './logs.ts';
import { readStored, type StoredContainer } from './stored-file.ts';
import type { VolumeMount } from './volume-mount.ts';

/** How docker writes a moment that has not been. */
const NEVER = '0001-01-01T00:00:00Z';
const SIGTERM = 15;

/** One element of what `docker inspect` prints; `size`: also what it wrote. Of a damaged one as much as is known. */
export function inspectContainer(root: string, runRoot: string, facts: Facts, size: boolean): Record<string, unknown> {
  const { record, status, pid } = facts;
  const { id, ended } = record;
  if (facts.damage !== undefined) return inspectDamaged(facts);
  const folder = `${root}/containers/${id}`;
  const stored = readStored(root, id);
  const image = findImage(root, record.image);
  return {
    Id: id,
    Created: record.created,
    Path: record.command[0],
    Args: record.command.slice(1),
    State: {
      Status: status,
      Running: isUp(facts), // also while it waits for its next start, as with docker
      Paused: status === 'paused',
      Restarting: status === 'restarting',
      OOMKilled: ended?.limitsHit?.memory !== undefined,
      Dead: false,
      Pid: pid,
      ExitCode: ended?.exitCode ?? 0,
      Error: record.failure ?? '',
      StartedAt: record.started ?? NEVER,
      FinishedAt: ended?.at ?? NEVER,
    },
    Image: `sha256:${record.image}`,
    ResolvConfPath: `${runRoot}/${id}/resolv.conf`,
    HostnamePath: `${runRoot}/${id}/hostname`,
    HostsPath: `${runRoot}/${id}/hosts`,
    LogPath: stored.log.driver === 'none' ? '' : `${folder}/${LOG_NAME}`,
    Name: `/${record.name ?? ''}`,
    RestartCount: record.restarts ?? 0,
    Driver: 'overlay2',
    Platform: 'linux',
    HostConfig: hostConfig(stored),
    GraphDriver: {
      Name: 'overlay2',
      Data: {
        ...(image && { LowerDir: lowerDir(root, image) }),
        UpperDir: `${folder}/upper`,
        WorkDir: `${folder}/work`,
      },
    },
    ...(size && sizes(root, id, image)),
    Mounts: mountPoints(stored, `${runRoot}/${id}`),
    Config: config(facts, stored),
    NetworkSettings: {
      ...(pid > 0 && { SandboxKey: `/proc/${pid}/ns/net` }),
      Ports: {},
      Networks: { [networkOf(stored)]: {} },
    },
  };
}

/** Nothing that would have to be guessed. */
function inspectDamaged({ record, status, damage, pid, cgroup, isPaused }: Facts): Record<string, unknown> {
  const { id, name = '', ended } = record;
  const State = {
    Status: status,
    Running: cgroup !== undefined,
    Paused: isPaused,
    Restarting: false,
    Pid: pid,
    ...(ended && { ExitCode: ended.exitCode, FinishedAt: ended.at }),
    Error: damage,
  };
  return { Id: id, Name: `/${name}`, State };
}

/** Lowest last, as overlayfs takes them. */
const lowerDir = (root: string, { layers }: Image): string =>
  layers
    .map((layer) => `${layersFolder(root)}/${layer}`)
    .reverse()
    .join(':');

/** In bytes: of what it wrote, and of that together with its image. */
export function sizes(root: string, id: string, image: Image | undefined): { SizeRw: number; SizeRootFs: number } {
  const SizeRw = writtenSize(root, id);
  return { SizeRw, SizeRootFs: SizeRw + (image?.size ?? 0) };
}

/** As docker calls the network with nothing but loopback, and that of the host. */
export const networkOf = ({ wanted }: StoredContainer): string => (wanted.hostNamespaces.network ? 'host' : 'none');

export interface MountPoint {
  Type: string;
  /** Of a volume. */
  Name?: string;
  Source: string;
  Destination: string;
  Driver?: string;
  Mode: string;
  RW: boolean;
  Propagation: string;
}

/** What -v and --mount have put there; `ownFolder` has the files of /etc, which are mounts as well. */
export function mountPoints({ wanted, asked }: StoredContainer, ownFolder: string): MountPoint[] {
  const isOwn = ({ source = '' }: Mount) => source.startsWith(`${ownFolder}/`);
  const flags = asked?.volume.map((text) => text.split(':')) ?? [];
  const mounts = wanted.spec.mounts ?? [];
  const sourceOf = (volume: VolumeMount) =>
    mounts.find((mount) => mount.destination === volume.destination)?.source ?? '';
  const volumes = new Map(wanted.volumes?.map((one) => [one.destination, volumePoint(one, sourceOf(one))]));
  return mounts
    .filter((mount) => isBind(mount) && !isOwn(mount))
    .map((mount) => volumes.get(mount.destination) ?? bindPoint(mount, flags));
}

function bindPoint({ source = '', destination, options = [] }: Mount, flags: readonly string[][]): MountPoint {
  return {
    Type: 'bind',
    Source: source,
    Destination: destination,
    Mode: flags.find(([, at]) => at === destination)?.[2] ?? '',
    RW: !options.some((option) => option === 'ro' || option === 'rro'),
    Propagation: options.find((option) => /^r?(private|shared|slave)$/.test(option)) ?? '',
  };
}

/** `source`: of its mount, which may be a part of it. */
function volumePoint({ volume, destination, readonly, subpath, mode }: VolumeMount, source: string): MountPoint {
  return {
    Type: 'volume',
    Name: volume,
    Source: subpath === undefined ? source : source.slice(0, -subpath.length - 1),
    Destination: destination,
    Driver: 'local',
    Mode: mode,
    RW: !readonly,
    Propagation: '',
  };
}

/** Of the anonymous volumes that the image and -v ask for, docker's Config.Volumes. */
function placesOf({ volumes = [] }: StoredContainer['wanted']): Record<string, object> | null {
  const places = volumes.filter(({ anonymous, mode }) => anonymous && mode === '');
  return places.length > 0 ? Object.fromEntries(places.map(({ destination }) => [destination, {}])) : null;
}

const isBind = ({ options = [] }: Mount): boolean => options.includes('rbind') || options.includes('bind');

function config({ record }: Facts, { wanted, tty, interactive, stopTimeoutS, asked }: StoredContainer) {
  const { env = [], cwd } = wanted.spec.process ?? {};
  return {
    Hostname: wanted.hostname,
    Domainname: '',
    User: wanted.user,
    Tty: tty,
    OpenStdin: interactive,
    Env: env,
    ...(asked && { Cmd: asked.cmd, Entrypoint: asked.entrypoint ?? null }),
    Image: record.imageName,
    Volumes: placesOf(wanted),
    WorkingDir: cwd ?? '/',
    Labels: record.labels,
    StopSignal: signalName(record.stopSignal ?? SIGTERM),
    StopTimeout: stopTimeoutS,
  };
}
