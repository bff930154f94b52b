/** A container's place on disk: its record, what it is made of, its files of /etc. Host side. */
import { chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps, Plan } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import { imageFile } from '../image/layout.ts';
import { withStoreLock } from '../image/lock.ts';
import { type AskedRun, IdsTaken, type StoreRequest } from './asked.ts';
import { entrypointOf } from './command.ts';
import { bootId, type ContainerRecord, createContainer } from './containers.ts';
import { hostnameFile, hostsFile, resolvConf } from './etc-files.ts';
import { tryFolderLock } from './folder-lock.ts';
import type { RunOptions } from './options.ts';
import { removeWithVolumes } from './remove-container.ts';
import type { ContainerSpec } from './spec.ts';
import type { Asked, LifeOptions, StoredContainer } from './stored-file.ts';
import type { VolumeMount } from './volume-mount.ts';

export function checkCidfile({ cidfile }: RunOptions): void {
  if (cidfile !== undefined && existsSync(cidfile))
    throw new ContainerError(`${cidfile} exists already`, {
      hint: 'a cidfile is never overwritten: remove it, or give another --cidfile',
    });
}

export function recordOf(
  { options, image, imageName }: Pick<StoreRequest, 'options' | 'image' | 'imageName'>,
  { id, wanted }: AskedRun,
  args: readonly string[],
  idMaps: IdMaps | undefined,
): ContainerRecord {
  return {
    id,
    name: options.name,
    image: image.id,
    imageName,
    command: args,
    labels: wanted.labels,
    created: new Date().toISOString(),
    stopSignal: wanted.stopSignal,
    ...(idMaps ? { idMaps } : {}),
    boot: bootId(),
    ...(options.rm ? { remove: true as const } : {}),
    ...(wanted.volumes ? { volumes: wanted.volumes.map(recordedVolume) } : {}),
  };
}

export function storedOf(
  { options, image }: Pick<StoreRequest, 'options' | 'image'>,
  run: AskedRun,
  plan: Plan,
  life: LifeOptions,
): StoredContainer {
  const { wanted, tty, interactive } = run;
  const { addHost, dns, rm = false } = options;
  const asked = askedOf(options, entrypointOf(options, image.config), plan.process.args);
  return { wanted, tty, interactive, etc: { addHost, dns }, rm, limits: plan.cgroup.files, ...life, asked };
}

function askedOf(options: RunOptions, entrypoint: readonly string[], args: readonly string[]): Asked {
  const { volume, tmpfs, capAdd, capDrop, privileged = false, securityOpt, userns = '', cidfile = '' } = options;
  const words = { entrypoint: entrypoint.length > 0 ? entrypoint : undefined, cmd: args.slice(entrypoint.length) };
  const { deviceCgroupRule = [] } = options;
  return { volume, tmpfs, capAdd, capDrop, privileged, securityOpt, deviceCgroupRule, userns, cidfile, ...words };
}

const recordedVolume = ({ volume: name, anonymous }: VolumeMount) => ({ name, ...(anonymous && { anonymous }) });

/**
 * Makes the container's folder and what it has volumes of: from here on rmi and volume rm refuse, a container uses the image and
 * them. New volumes get what the image has in their places. Returns the record with a name. `held` gets a descriptor,
 * its own from then on: until it is closed, no prune takes the container for one that nobody needs. @throws IdsTaken, ContainerError; then nothing of it is left
 */
export async function register(
  request: StoreRequest,
  { wanted }: AskedRun,
  record: ContainerRecord,
  held?: (hold: number) => void,
): Promise<ContainerRecord> {
  const { root } = request;
  const volumes = wanted.volumes ?? [];
  const makeVolumes = volumes.length > 0 ? (await import('./volumes.ts')).makeVolumes : undefined;
  const areTaken = record.idMaps && (await import('./id-ranges.ts')).areTaken;
  try {
    const named = withStoreLock(root, () => {
      if (areTaken?.(root, record.idMaps!)) throw new IdsTaken();
      if (!existsSync(imageFile(root, record.image)))
        throw new ContainerError(`the image ${record.imageName} was removed just now`);
      return createContainer(root, record, () => {
        const hold = held && tryFolderLock(`${root}/containers/${record.id}/rootfs`);
        if (typeof hold === 'number') held!(hold);
        makeVolumes?.(root, record, volumes);
      });
    });
    if (volumes.length > 0) await (await import('./volume-fill.ts')).fillVolumes(request, record, volumes);
    return named;
  } catch (error) {
    removeWithVolumes(root, record.id);
    throw error;
  }
}

function readHostFile(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

export function writeEtcFiles(
  folder: string,
  options: Pick<RunOptions, 'addHost' | 'dns'>,
  wanted: ContainerSpec,
  idMaps: IdMaps | undefined,
): void {
  const hostNetwork = wanted.hostNamespaces.network;
  writeFileSync(`${folder}/hosts`, hostsFile(options.addHost, hostNetwork ? readHostFile('/etc/hosts') : undefined), {
    mode: 0o644,
  });
  writeFileSync(`${folder}/hostname`, hostnameFile(wanted.hostname), { mode: 0o644 });
  const dns = resolvConf({ hostFile: readHostFile('/etc/resolv.conf'), dns: options.dns, hostNetwork });
  writeFileSync(`${folder}/resolv.conf`, dns, { mode: 0o644 });
  if (idMaps)
    for (const name of ['hosts', 'hostname', 'resolv.conf'])
      chownSync(`${folder}/${name}`, hostId(idMaps.uid, 0)!, hostId(idMaps.gid, 0)!);
}
