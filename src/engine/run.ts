/** `tinyctr run`, from options to exit status: image, spec, plan, launch, supervise, clean up. Host side. */
import { chownSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { launch, type RunningContainer } from '../core/container/launch.ts';
import { cgroupRoot, killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { randomHex } from '../core/host/random.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { planContainer } from '../core/plan/container.ts';
import type { IdMaps, Plan } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import type { HostFd, Observer } from '../core/stage/stage.ts';
import { imageFile } from '../image/layout.ts';
import { withStoreLock } from '../image/lock.ts';
import type { Image } from '../image/store.ts';
import { StateFolder } from '../lifecycle/state.ts';
import { compiledFilter } from '../seccomp/cache.ts';
import type { Seccomp } from '../spec/types.ts';
import { bootId, type ContainerRecord, createContainer, removeContainer, writeRecord } from './containers.ts';
import { hostnameFile, hostsFile, resolvConf } from './etc-files.ts';
import { exitCode, openStdio, superviseForeground } from './foreground.ts';
import { factsOf, type Hit, readHits } from './hits.ts';
import { hostReaders } from './host.ts';
import type { MappedLayers } from './mapped-layers.ts';
import type { RunOptions } from './options.ts';
import { resolveSeccompFile } from './seccomp-file.ts';
import { defaultSeccompProfile } from './seccomp-profile.ts';
import { type ContainerSpec, containerSpec } from './spec.ts';
import { inForeground, type LifeOptions, type StoredContainer, writeStored } from './stored-file.ts';
import { isTerminal, windowSize } from './terminal.ts';

export interface RunRequest {
  root: string;
  runRoot: string;
  image: Image;
  layersFolder: string;
  imageName: string;
  options: RunOptions;
  command: readonly string[];
  observer: Observer | undefined;
  /** Somebody who may stop the construction; has an observer of its own. */
  watch?: Watch | undefined;
  /** Called when nothing can be wrong with the request any more, and nothing of the container runs yet. */
  before?: () => Promise<void>;
  /** Told at the end of limits that were hit. */
  tell: (hits: readonly Hit[]) => Promise<void>;
}

/** src/workshop/step.ts is one. */
export interface Watch {
  observer: Observer;
  /** Nothing of the container is there but its records. What it throws ends the run. */
  begin(made: { id: string; plan: Plan; folder: string; cgroup: string; noStdin: boolean; signals: HostFd }): void;
  born(hostPid: number): void;
  /** The half-built container is taken down when this returns. */
  failed(error: unknown): void;
}

/** Returns the exit status of the container's command. Throws what went wrong before it ran; then nothing of it is left. */
export async function run(request: RunRequest): Promise<number> {
  return await withIdMaps(request, (idMaps) => runWith(request, idMaps));
}

/** Again, with others, when the ids that were chosen have gone to another container meanwhile. */
export async function withIdMaps<T>(request: PlanRequest, act: (idMaps: IdMaps | undefined) => Promise<T>): Promise<T> {
  for (;;)
    try {
      return await act(await idMapsFor(request));
    } catch (error) {
      if (!(error instanceof IdsTaken)) throw error;
    }
}

async function idMapsFor({ root, options: { userns } }: PlanRequest): Promise<IdMaps | undefined> {
  if (userns !== 'auto' && userns !== 'keep-id') return undefined;
  return (await import('./id-ranges.ts')).chooseIdMaps(userns, root, process.env);
}

/** Another container was faster: nothing was made yet. */
class IdsTaken extends Error {}

/** What is asked for, before anything of it is on disk. */
export interface AskedRun {
  id: string;
  wanted: ContainerSpec;
  tty: boolean;
  interactive: boolean;
}

export type PlanRequest = Pick<RunRequest, 'root' | 'runRoot' | 'image' | 'layersFolder' | 'options' | 'command'>;

/** What `run` would plan, if it could see layers through idmapped mounts. Nothing is written at all. @throws UsageError */
export async function planRun(request: PlanRequest): Promise<{ id: string; plan: Plan; interactive: boolean }> {
  const idMaps = await idMapsFor(request);
  const asked = askedRun(request, idMaps);
  const layers = { lower: request.image.layers, idMapped: idMaps !== undefined };
  return { id: asked.id, plan: makePlan(request, asked, undefined, layers), interactive: asked.interactive };
}

export function askedRun(request: PlanRequest, idMaps: IdMaps | undefined): AskedRun {
  const { root, runRoot, options } = request;
  const { tty, interactive } = terminalWishes(options);
  const id = randomHex(32);
  const stateFolder = `${runRoot}/${id}`;
  const wanted = containerSpec({
    options,
    command: request.command,
    image: request.image.config,
    id,
    rootfs: `${root}/containers/${id}/rootfs`,
    terminal: tty,
    files: {
      hosts: `${stateFolder}/hosts`,
      hostname: `${stateFolder}/hostname`,
      resolvConf: `${stateFolder}/resolv.conf`,
    },
    host: hostReaders,
    idMaps,
  });
  return { id, wanted, tty, interactive };
}

async function runWith(request: RunRequest, idMaps: IdMaps | undefined): Promise<number> {
  const { root, runRoot, options } = request;
  const asked = askedRun(request, idMaps);
  const { id, wanted, tty, interactive } = asked;
  if (tty && interactive && !isTerminal(0))
    throw new ContainerError('-i with -t wants a terminal, but standard input is not one', {
      hint: 'leave -t away: tinyctr run -i …',
    });
  const life = inForeground(options);
  const stateFolder = `${runRoot}/${id}`;
  const layers = idMaps && (await mapLayers(request, idMaps));
  const plan = makePlan(request, asked, `${root}/seccomp`, layers);
  checkCidfile(options);

  const state = {
    id,
    pid: 0,
    cgroup: plan.cgroup.path,
    root,
    remove: options.rm ?? false,
  };
  const states = StateFolder.create(runRoot, state);
  const record = recordOf(request, asked, plan.process.args, idMaps);
  try {
    await register(root, record);
  } catch (error) {
    states.remove();
    throw error;
  }
  let cidfileWritten = false;
  try {
    writeStored(root, id, storedOf(options, asked, plan, life));
    writeEtcFiles(stateFolder, options, wanted, idMaps);
    if (options.cidfile !== undefined) {
      writeFileSync(options.cidfile, id, { flag: 'wx' });
      cidfileWritten = true;
    }
    await request.before?.();
    const born = (pid: number) => states.write({ ...state, pid });
    const watched = request.watch && { watch: request.watch, id, folder: stateFolder };
    const { status, hits } = await runForeground(plan, interactive, request.observer, born, watched);
    const limitsHit = hits.length > 0 ? { limitsHit: factsOf(hits) } : {};
    if (options.rm) removeContainer(root, id);
    else writeRecord(root, { ...record, ended: { at: new Date().toISOString(), exitCode: status, ...limitsHit } });
    if (hits.length > 0) await request.tell(hits);
    return status;
  } catch (error) {
    removeContainer(root, id); // it never ran
    if (cidfileWritten) rmSync(options.cidfile!, { force: true });
    throw error;
  } finally {
    states.remove();
  }
}

export function checkCidfile({ cidfile }: RunOptions): void {
  if (cidfile !== undefined && existsSync(cidfile))
    throw new ContainerError(`${cidfile} exists already`, {
      hint: 'a cidfile is never overwritten: remove it, or give another --cidfile',
    });
}

export function recordOf(
  { options, image, imageName }: Pick<RunRequest, 'options' | 'image' | 'imageName'>,
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
  };
}

export function storedOf(options: RunOptions, asked: AskedRun, plan: Plan, life: LifeOptions): StoredContainer {
  const { wanted, tty, interactive } = asked;
  const { addHost, dns, rm = false } = options;
  return { wanted, tty, interactive, etc: { addHost, dns }, rm, limits: plan.cgroup.files, ...life };
}

/** Makes the container's folder: from here on rmi refuses, a container uses the image. @throws IdsTaken, ContainerError */
export async function register(root: string, record: ContainerRecord): Promise<void> {
  const areTaken = record.idMaps && (await import('./id-ranges.ts')).areTaken;
  withStoreLock(root, () => {
    if (areTaken?.(root, record.idMaps!)) throw new IdsTaken();
    if (!existsSync(imageFile(root, record.image)))
      throw new ContainerError(`the image ${record.imageName} was removed just now`);
    createContainer(root, record);
  });
}

/** With stdin and stdout on a terminal and neither -i nor -t said, both are on. */
export function terminalWishes(options: Pick<RunOptions, 'tty' | 'interactive'>): {
  tty: boolean;
  interactive: boolean;
} {
  const atTerminal = isTerminal(0) && isTerminal(1); // not process.stdin: Node would make a pipe non-blocking, for the container too
  const silent = options.tty === undefined && options.interactive === undefined;
  const tty = options.tty ?? (silent && atTerminal);
  const interactive = options.interactive ?? (silent && atTerminal);
  return { tty, interactive };
}

export async function mapLayers({ root, image, layersFolder }: LayersOf, maps: IdMaps): Promise<MappedLayers> {
  return (await import('./mapped-layers.ts')).mapLayers(root, layersFolder, image.layers, maps);
}

/** What a plan has to know of the image and where it is. */
export interface LayersOf {
  root: string;
  image: Pick<Image, 'layers'>;
  layersFolder: string;
  options: Pick<RunOptions, 'rm' | 'isolation'>;
}

/** `filters`: a folder that keeps compiled filters. */
export function makePlan(
  request: LayersOf,
  { id, wanted, tty }: Omit<AskedRun, 'interactive'>,
  filters: string | undefined,
  layers: MappedLayers = { lower: request.image.layers, idMapped: false },
): Plan {
  const { root } = request;
  const folder = `${root}/containers/${id}`;
  const seccomp = filterOf(wanted, filters);
  return planContainer(
    {
      id,
      spec: wanted.spec,
      root: {
        target: `${folder}/rootfs`,
        chroot: request.options.isolation === 'chroot',
        source: {
          kind: 'overlay',
          layersFolder: request.layersFolder,
          ...layers,
          upper: `${folder}/upper`,
          work: `${folder}/work`,
          volatile: request.options.rm ?? false, // nobody will read it after a crash
        },
      },
      user: { kind: 'lookup', user: wanted.user, groupAdd: wanted.groupAdd },
      createCwd: true,
      init: wanted.init,
      cgroupPath: wanted.spec.linux!.cgroupsPath!,
      ...(seccomp ? { seccomp } : {}),
      ...(tty ? { terminal: windowSize(1 as HostFd) } : {}),
    },
    { permittedCapabilities: permittedCapabilities() },
  );
}

function chooseProfile({ seccomp, spec }: ContainerSpec): Seccomp | undefined {
  if (seccomp === 'unconfined') return undefined;
  const capabilities = spec.process?.capabilities?.bounding ?? [];
  if (seccomp === 'default') return defaultSeccompProfile(capabilities);
  const facts = { capabilities, arch: process.arch, kernelRelease: process.getBuiltinModule('node:os').release() };
  return resolveSeccompFile(seccomp.profile, seccomp.path, facts);
}

/** Undefined: every call is allowed. */
export function filterOf(wanted: ContainerSpec, filters: string | undefined): Plan['process']['seccomp'] {
  const seccomp = chooseProfile(wanted);
  if (seccomp === undefined) return undefined;
  const { program, loadFlags } = compiledFilter(seccomp, filters);
  return { program, flags: loadFlags };
}

/** CapPrm of /proc/self/status. */
export function permittedCapabilities(): bigint {
  const line = /^CapPrm:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return BigInt(`0x${line![1]}`);
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

export const explainer = (plan: Plan, watch?: Watch) => async (error: unknown, hostPid: number) => {
  const explained = (await import('../explain/failure.ts')).explainFailure(error, plan, hostPid);
  watch?.failed(explained);
  return explained;
};

async function runForeground(
  plan: Plan,
  interactive: boolean,
  observer: Observer | undefined,
  born: (pid: number) => void,
  watched?: { watch: Watch; id: string; folder: string },
): Promise<{ status: number; hits: readonly Hit[] }> {
  const stdio = openStdio(plan.terminal === undefined && interactive);
  const supervise = superviseForeground();
  let container: RunningContainer;
  try {
    if (watched) {
      const { watch, ...made } = watched;
      const cgroup = `${cgroupRoot()}${plan.cgroup.path}`;
      watch.begin({ ...made, plan, cgroup, noStdin: !interactive, signals: supervise.caught });
    }
    container = await launch(plan, {
      stdio: stdio.fds,
      born: (pid) => {
        watched?.watch.born(pid);
        born(pid);
      },
      explain: explainer(plan, watched?.watch),
      ...(watched ? { observer: watched.watch.observer } : observer ? { observer } : {}),
    });
  } catch (error) {
    stdio.discard();
    throw error;
  }
  const relaying = await stdio.handOver();
  const detach =
    container.terminal === undefined
      ? undefined
      : (await import('./relay.ts')).attachTerminal(container.terminal, interactive, container);
  const status = exitCode(await supervise(container.pidfd, relaying || detach !== undefined));
  killCgroup(container.cgroup); // in a pid namespace that is not its own, others may have outlived it
  await detach?.();
  await stdio.drained();
  const hits = readHits(container.cgroup, plan.cgroup.files, status, observer !== undefined);
  removeCgroup(container.cgroup);
  return { status, hits };
}
