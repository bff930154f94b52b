/** What `run` and `create` were asked for, made into a specification, before anything of it is on disk. Host side. */
import { randomHex } from '../core/host/random.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import type { Image } from '../image/store.ts';
import { hostReaders } from './host.ts';
import type { RunOptions } from './options.ts';
import { type ContainerSpec, containerSpec } from './spec.ts';
import { isTerminal } from './terminal.ts';

export interface PlanRequest {
  root: string;
  runRoot: string;
  image: Image;
  layersFolder: string;
  options: RunOptions;
  command: readonly string[];
}

export interface StoreRequest extends PlanRequest {
  imageName: string;
}

/** What is asked for, before anything of it is on disk. */
export interface AskedRun {
  id: string;
  wanted: ContainerSpec;
  tty: boolean;
  interactive: boolean;
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

export async function idMapsFor({ root, options: { userns } }: PlanRequest): Promise<IdMaps | undefined> {
  if (userns !== 'auto' && userns !== 'keep-id') return undefined;
  return (await import('./id-ranges.ts')).chooseIdMaps(userns, root, process.env);
}

/** Another container was faster: nothing was made yet. */
export class IdsTaken extends Error {}

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
    volumes: `${root}/volumes`,
    host: hostReaders,
    idMaps,
  });
  return { id, wanted, tty, interactive };
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
