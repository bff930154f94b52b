/** The plan of a container of an image: its specification, its layers, its filter. Host side. */
import { closeSync, readFileSync } from 'node:fs';
import { planContainer } from '../core/plan/container.ts';
import type { IdMaps, Plan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
import type { Image } from '../image/store.ts';
import { compiledFilter } from '../seccomp/cache.ts';
import type { Seccomp } from '../spec/types.ts';
import { type AskedRun, askedRun, idMapsFor, type PlanRequest } from './asked.ts';
import type { MappedLayers } from './mapped-layers.ts';
import type { RunOptions } from './options.ts';
import { resolveSeccompFile } from './seccomp-file.ts';
import { defaultSeccompProfile } from './seccomp-profile.ts';
import type { ContainerSpec } from './spec.ts';
import { windowSize } from './terminal.ts';

/** What a plan has to know of the image and where it is. */
export interface LayersOf {
  root: string;
  image: Pick<Image, 'layers'>;
  layersFolder: string;
  options: Pick<RunOptions, 'rm' | 'isolation'>;
}

export async function mapLayers({ root, image, layersFolder }: LayersOf, maps: IdMaps): Promise<MappedLayers> {
  return (await import('./mapped-layers.ts')).mapLayers(root, layersFolder, image.layers, maps);
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

/** Does `act` while the plan's volumes are open. Throws for one that is gone. */
export async function withVolumes<T>(
  root: string,
  volumes: ContainerSpec['volumes'],
  plan: Plan,
  act: (plan: Plan) => Promise<T>,
): Promise<T> {
  if (volumes === undefined) return await act(plan);
  const { openVolumes } = await import('./volume-mounts.ts');
  const { mounts, opened } = await openVolumes(root, volumes, plan.mounts);
  try {
    return await act({ ...plan, mounts });
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Undefined: every call is allowed. */
export function filterOf(wanted: ContainerSpec, filters: string | undefined): Plan['process']['seccomp'] {
  const seccomp = chooseProfile(wanted);
  if (seccomp === undefined) return undefined;
  const { program, loadFlags } = compiledFilter(seccomp, filters);
  return { program, flags: loadFlags };
}

function chooseProfile({ seccomp, spec }: ContainerSpec): Seccomp | undefined {
  if (seccomp === 'unconfined') return undefined;
  const capabilities = spec.process?.capabilities?.bounding ?? [];
  if (seccomp === 'default') return defaultSeccompProfile(capabilities);
  const facts = { capabilities, arch: process.arch, kernelRelease: process.getBuiltinModule('node:os').release() };
  return resolveSeccompFile(seccomp.profile, seccomp.path, facts);
}

/** CapPrm of /proc/self/status. */
export function permittedCapabilities(): bigint {
  const line = /^CapPrm:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return BigInt(`0x${line![1]}`);
}

/** What `run` would plan, if it could see layers through idmapped mounts. Nothing is written at all. @throws UsageError */
export async function planRun(request: PlanRequest): Promise<{ id: string; plan: Plan; interactive: boolean }> {
  const idMaps = await idMapsFor(request);
  const asked = askedRun(request, idMaps);
  const layers = { lower: request.image.layers, idMapped: idMaps !== undefined };
  return { id: asked.id, plan: makePlan(request, asked, undefined, layers), interactive: asked.interactive };
}
