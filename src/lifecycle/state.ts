/**
 * What is known of a container while somebody runs it: a folder below the run root with a lock and state.json. Host side.
 * The lock (flock(2)) is held by the process that supervises; when that dies, however, the kernel lets go of it, and
 * whoever gets the lock next knows that the container is an orphan.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { syscall } from '../core/host/syscall.ts';
import { LOCK_EX, LOCK_NB } from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { DamagedFile, readJson, writeJson } from './json-file.ts';

export interface RunState {
  id: string;
  /** The container's init as the host sees it; 0 until it is born. */
  pid: number;
  /** Its cgroup, below wherever the v2 hierarchy is mounted for who reads this. */
  cgroup: string;
  /** Where its image, record and writable layer are. */
  root: string;
  /** Remove record and layer as well when the container has ended. */
  remove: boolean;
  /** How it ended, where the record could not be written: whoever has the lock next is to do it. */
  ended?: { at: string; exitCode: number };
}

/** `damage`: what is wrong with the file; then the rest is what can be told without it, and `root` is ''. */
export type FoundState = RunState & { damage?: string };

export class StateFolder<State extends { id: string } = RunState> {
  readonly path: string;
  private readonly lock: HostFd;

  private constructor(path: string, lock: HostFd) {
    this.path = path;
    this.lock = lock;
  }

  /**
   * Made under another name until the lock is held: nobody can take the new container for an orphan.
   * Throws EEXIST or ENOTEMPTY where there is one; what it throws leaves nothing.
   */
  static create<S extends { id: string }>(runRoot: string, state: S): StateFolder<S> {
    privateFolder(runRoot);
    const path = `${runRoot}/${state.id}`;
    const young = `${runRoot}/.new-${process.pid}-${state.id}`;
    mkdirSync(young, { mode: 0o700 });
    let lock: HostFd | undefined;
    try {
      lock = openSync(`${young}/lock`, 'w', 0o600) as HostFd;
      syscall('flock', [lock, LOCK_EX | LOCK_NB]);
      writeFileSync(`${young}/state.json`, JSON.stringify(state), { mode: 0o600 });
      renameSync(young, path);
      return new StateFolder<S>(path, lock);
    } catch (error) {
      if (lock !== undefined) closeSync(lock);
      rmSync(young, { recursive: true, force: true });
      throw error;
    }
  }

  /** Takes over an orphan; undefined if it is gone, or somebody still runs it and `wait` is not said. */
  static adopt<S extends { id: string } = RunState>(
    runRoot: string,
    id: string,
    wait = false,
  ): StateFolder<S> | undefined {
    let lock: HostFd;
    try {
      lock = openSync(`${runRoot}/${id}/lock`, 'r+') as HostFd;
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as { code?: string }).code ?? '')) return undefined;
      throw error;
    }
    const locked = syscall('flock', [lock, wait ? LOCK_EX : LOCK_EX | LOCK_NB], ['EAGAIN']) === 0;
    const isThere = () => statSync(`${runRoot}/${id}/lock`, { throwIfNoEntry: false })?.ino === fstatSync(lock).ino;
    if (locked && isThere()) return new StateFolder<S>(`${runRoot}/${id}`, lock);
    closeSync(lock); // somebody runs it, or has removed the folder since the lock was opened
    return undefined;
  }

  /** The lock's descriptor, for who is to hold it as well. */
  get descriptor(): HostFd {
    return this.lock;
  }

  /** @throws DamagedFile */
  read(): State {
    return readJson<State>(`${this.path}/state.json`, 'object');
  }

  /** @throws ContainerError */
  write(state: State): void {
    writeJson(`${this.path}/state.json`, state);
  }

  /** Lets go of the lock. */
  release(): void {
    closeSync(this.lock);
  }

  /** Removes the folder and lets go of the lock. Under another name first: half of it would puzzle whoever comes next. */
  remove(): void {
    const old = this.path.replace(/([^/]+)$/, `.old-${process.pid}-$1`);
    renameSync(this.path, old);
    for (const name of readdirSync(old)) unlinkSync(`${old}/${name}`); // rmSync takes 1 ms to load
    rmdirSync(old);
    closeSync(this.lock);
  }
}

/** The folder, 0700, made if need be. Refuses one that somebody else owns or could write to. */
export function privateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const { uid, mode } = statSync(path);
  if (uid !== process.getuid!() || mode & 0o022)
    throw new ContainerError(`${path} must belong to uid ${process.getuid!()} and be writable by it alone`, {
      hint: `chown ${process.getuid!()} ${path} && chmod 0700 ${path}`,
    });
}

/** Ids of the containers that have a folder here. */
export function listStates(runRoot: string): string[] {
  return listFolder(runRoot).filter((name) => /^[0-9a-zA-Z_+][0-9a-zA-Z_+.-]*$/.test(name));
}

const shape = {
  id: 'string',
  pid: 'number',
  cgroup: 'string',
  root: 'string',
  remove: 'boolean',
  ended: 'object?',
} as const;

/** What stands in the states; one that ends just now is left out. */
export function readStates(runRoot: string): FoundState[] {
  return listStates(runRoot).flatMap((id) => readRunState(runRoot, id) ?? []);
}

/** Undefined if there is none. All in its cgroup may be killed: one that is not the container's own is a damage. */
export function readRunState(runRoot: string, id: string): FoundState | undefined {
  const damaged = (damage: string) => ({ id, pid: 0, cgroup: `/tinyctr/${id}`, root: '', remove: false, damage });
  try {
    const state = readJson<RunState>(`${runRoot}/${id}/state.json`, shape);
    const { pid, cgroup } = state;
    if (state.id !== id) return damaged('state.json is of another container');
    if (!Number.isInteger(pid) || pid < 0) return damaged(`state.json: pid is ${pid}`);
    if (!cgroup.startsWith('/') || !cgroup.endsWith(`/${id}`) || cgroup.split('/').includes('..'))
      return damaged(`state.json: cgroup is ${JSON.stringify(cgroup)}, which is not the container's`);
    return state;
  } catch (error) {
    if (error instanceof DamagedFile) return damaged(error.message);
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    return statSync(`${runRoot}/${id}/lock`, { throwIfNoEntry: false }) && damaged('state.json is missing');
  }
}

/** By whoever holds the container. @throws ContainerError */
export function writeRunState(runRoot: string, state: RunState): void {
  writeJson(`${runRoot}/${state.id}/state.json`, state);
}

/** Folders of a process that died while it made or removed them. */
export function listUnborn(runRoot: string): string[] {
  return listFolder(runRoot).filter((name) => {
    const pid = /^\.(?:new|old)-([0-9]+)-/.exec(name)?.[1];
    return pid && !statSync(`/proc/${pid}`, { throwIfNoEntry: false });
  });
}

export function removeUnborn(runRoot: string): void {
  for (const name of listUnborn(runRoot)) rmSync(`${runRoot}/${name}`, { recursive: true, force: true });
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return [];
    throw error;
  }
}
