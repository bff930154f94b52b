/** Containers by id: their folders below --root, and what clients are told of them. Host side. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import { type ContainerState, type Status, statusOf } from '../lifecycle/lifecycle.ts';
import { StateFolder } from '../lifecycle/state.ts';
import type { Spec } from '../spec/types.ts';
import { specVersion } from './globals.ts';

/** runc's alphabet; a leading dot is kept for the runtime's own folders. */
export function checkId(id: string): void {
  if (/^[\w+-][\w+.-]*$/.test(id) && id.length <= 200) return;
  throw new ContainerError(
    `invalid container ID format: ${JSON.stringify(id)} has an invalid character in the container ID, or too many; allowed are up to 200 of a-z, A-Z, 0-9, "_", "+", "-" and "." (not first)`,
  );
}

const noContainer = () => new ContainerError('container does not exist');

export interface Found {
  /** Its folder below the root. */
  folder: string;
  state: ContainerState;
  status: Status;
}

/** Looks without waiting for anybody. @throws ContainerError "container does not exist" */
export function findContainer(root: string, id: string): Found {
  checkId(id);
  const folder = `${root}/${id}`;
  try {
    const state = JSON.parse(readFileSync(`${folder}/state.json`, 'utf8')) as ContainerState;
    return { folder, state, status: statusOf(folder, state) };
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') throw noContainer();
    throw error;
  }
}

/** The same, with the lock: nobody else creates, starts or deletes it meanwhile. The caller releases or removes it. */
export function lockContainer(root: string, id: string): Found & { lock: StateFolder<ContainerState> } {
  checkId(id);
  const lock = StateFolder.adopt<ContainerState>(root, id, true);
  if (!lock) throw noContainer();
  const state = lock.read();
  return { folder: lock.path, state, status: lockedStatus(lock.path, state), lock };
}

/** Nobody is creating it while we hold the lock. */
function lockedStatus(folder: string, state: ContainerState): Status {
  return state.pid === 0 ? 'stopped' : statusOf(folder, state);
}

/** What config.json said at create, completed; nothing if a process died before it was written. */
export function frozenSpec(folder: string): Spec {
  const file = `${folder}/config.json`;
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Spec) : { ociVersion: specVersion };
}

export function listContainers(root: string): Found[] {
  if (!existsSync(root)) return [];
  const ids = readdirSync(root).filter((name) => !name.startsWith('.'));
  return ids.flatMap((id) => {
    try {
      return [findContainer(root, id)];
    } catch {
      return []; // removed since, or no container's folder
    }
  });
}

/** What `state` and `list` print, in runc's order of fields. */
export function describe({ folder, state, status }: Found): Record<string, unknown> {
  return {
    ociVersion: specVersion,
    id: state.id,
    pid: status === 'stopped' ? 0 : state.pid,
    status,
    bundle: state.bundle,
    rootfs: state.rootfs,
    created: state.created,
    ...(Object.keys(state.annotations).length > 0 ? { annotations: state.annotations } : {}),
    owner: ownerOf(folder),
  };
}

/** The name that the host's /etc/passwd has for the uid; without one, as runc has it, `#1000`. */
function ownerOf(folder: string): string {
  const { uid } = statSync(folder);
  const passwd = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8') : '';
  const entries = passwd.split('\n').map((line) => line.split(':'));
  return entries.find((entry) => entry[2] === String(uid))?.[0] ?? `#${uid}`;
}
