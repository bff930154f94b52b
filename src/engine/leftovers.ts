/**
 * What tinyctr does to a host and what undoes it, kind by kind: `tinyctr cleanup --dry-run` lists what dead processes left of it,
 * `cleanup` undoes it. Host side. Finding changes nothing, and keeps away from whatever a living process holds.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { cleanBlobs, cleanStore, findUnused, removeUnused } from '../image/clean.ts';
import { processesIn } from '../lifecycle/processes.ts';
import { listStates, listUnborn, readRunState, removeUnborn, StateFolder } from '../lifecycle/state.ts';
import { deadFilters } from '../seccomp/cache.ts';
import { cleanup } from './cleanup.ts';
import { deadNames, finishRemoval, halfRemoved, lostContainers, readRecord, withNamesLock } from './containers.ts';
import { isLimit } from './limit-name.ts';
import { endRecord } from './remove-container.ts';
import { endVolumeLeftovers, volumeLeftovers } from './volume-leftovers.ts';

interface Effect {
  /** What is there on the host. */
  is: string;
  /** How it is known that nobody needs it any more. */
  dead: string;
  inverse: string;
}

const locked = 'nobody holds the lock in its state folder';

/** docs/cleanup.md has this table; a test holds the two together. */
export const effects = {
  process: {
    is: 'a process in the cgroup of a container or of `limit`',
    dead: locked,
    inverse: 'killed, with all in the cgroup at once (cgroup.kill)',
  },
  cgroup: {
    is: 'the cgroup of a container or of `limit`, with those made in it',
    dead: locked,
    inverse: 'removed; /tinyctr and parents of --cgroup-parent stay',
  },
  container: {
    is: 'record, name and writable layer of a container with --rm, or of one that was only half made or half removed',
    dead: `${locked}, or the machine was started anew meanwhile`,
    inverse: 'removed; its range of ids is free again',
  },
  record: {
    is: 'the record of a container without --rm, which does not know how it ended',
    dead: `${locked}, or the machine was started anew meanwhile`,
    inverse: 'kept, with its end written down: killed, status 137',
  },
  state: {
    is: 'the state folder of a container or of `limit`: lock, state, the files of /etc',
    dead: 'nobody holds its lock',
    inverse: 'removed, when all of the above is',
  },
  unborn: {
    is: 'a state folder that was being made or removed',
    dead: 'the process whose pid is in its name is gone',
    inverse: 'removed',
  },
  name: { is: 'a container’s name', dead: 'there is no such container', inverse: 'removed' },
  volume: {
    is: 'a volume that was being made or removed, or the copy that was to fill one',
    dead: 'the process whose pid is in its name is gone; nobody holds the volume’s lock',
    inverse: 'removed; a copy that is whole is put in its place',
  },
  work: {
    is: 'a process’s folder in the store, where layers are fetched, unpacked and removed',
    dead: 'nobody holds its lock',
    inverse: 'removed',
  },
  layer: {
    is: 'an unpacked layer, or its copy for a user namespace',
    dead: 'no image has it, and no living process keeps it',
    inverse: 'removed',
  },
  file: {
    is: 'a half-written record or name of an image, or a configuration without an image',
    dead: 'such files are written with the store’s lock only, which cleanup holds',
    inverse: 'removed',
  },
  blob: {
    is: 'an archive or manifest, or part of one that was being fetched',
    dead: 'no image has it, nobody fetches it or keeps it',
    inverse: 'removed; a pull can’t go on with it any more',
  },
  filter: {
    is: 'a half-written compiled seccomp filter',
    dead: 'the process whose pid is in its name is gone',
    inverse: 'removed; whole ones are kept for the next container',
  },
} satisfies Record<string, Effect>;

export type Kind = keyof typeof effects;

export interface Leftover {
  kind: Kind;
  /** A path, or a pid and what it executes. */
  name: string;
}

export interface Places {
  root: string;
  runRoot: string;
}

interface Source {
  find(places: Places): Leftover[];
  undo(places: Places, failed: unknown[]): unknown;
}

const of = (kind: Kind, names: readonly string[]): Leftover[] => names.map((name) => ({ kind, name }));

const sources: readonly Source[] = [
  { find: findOrphans, undo: ({ root, runRoot }, failed) => cleanup(root, runRoot, failed) },
  {
    find: ({ runRoot }) =>
      of(
        'unborn',
        listUnborn(runRoot).map((name) => `${runRoot}/${name}`),
      ),
    undo: ({ runRoot }) => removeUnborn(runRoot),
  },
  {
    find: ({ root, runRoot }) =>
      lostContainers(root, runRoot).map(({ id, record }) => containerLeftover(root, id, !record || !!record.remove)),
    undo: ({ root, runRoot }) => {
      for (const { id, record } of lostContainers(root, runRoot)) endRecord(root, id, !!record?.remove);
    },
  },
  {
    find: ({ root }) =>
      of(
        'container',
        halfRemoved(root).map((id) => `${root}/containers/.removed-${id}`),
      ),
    undo: ({ root }) => {
      for (const id of halfRemoved(root)) finishRemoval(root, id);
    },
  },
  {
    find: ({ root }) => of('name', deadNames(root)),
    undo: ({ root }) => {
      if (deadNames(root).length === 0) return;
      // With the lock nobody takes one of them meanwhile.
      withNamesLock(root, () => {
        for (const path of deadNames(root)) rmSync(path, { force: true });
      });
    },
  },
  { find: ({ root }) => of('volume', volumeLeftovers(root)), undo: ({ root }) => endVolumeLeftovers(root) },
  {
    find: ({ root }) => {
      const { work, layers, files, blobs } = findUnused(root);
      return [...of('work', work), ...of('layer', layers), ...of('file', files), ...of('blob', blobs)];
    },
    undo: ({ root }) => {
      if (!existsSync(`${root}/layers`)) return;
      cleanStore(root);
      removeUnused(root);
      cleanBlobs(root);
    },
  },
  {
    find: ({ root }) => of('filter', filterFiles(root)),
    undo: ({ root }) => {
      for (const path of filterFiles(root)) rmSync(path, { recursive: true, force: true });
    },
  },
];

const filterFiles = (root: string): string[] => deadFilters(`${root}/seccomp`).map((name) => `${root}/seccomp/${name}`);

/** `errors`: what could not be looked at. */
export function findLeftovers(places: Places): { found: Leftover[]; errors: unknown[] } {
  const errors: unknown[] = [];
  const found = sources.flatMap(({ find }) => {
    try {
      return find(places);
    } catch (error) {
      errors.push(error);
      return [];
    }
  });
  return { found, errors };
}

/** Undoes as much as can be. `errors`: why something is there still. */
export async function undoLeftovers(places: Places): Promise<unknown[]> {
  const errors: unknown[] = [];
  for (const { undo } of sources)
    try {
      await undo(places, errors);
    } catch (error) {
      errors.push(error);
    }
  return errors;
}

function findOrphans({ root, runRoot }: Places): Leftover[] {
  return listStates(runRoot).flatMap((id) => {
    const folder = StateFolder.adopt(runRoot, id);
    if (!folder) return [];
    try {
      const found = readRunState(runRoot, id)!;
      const state = { ...found, root: found.root || root };
      const cgroup = `${cgroupRoot()}${state.cgroup}`;
      const record = isLimit(id) ? undefined : readRecord(state.root, id);
      const there = !isLimit(id) && existsSync(`${state.root}/containers/${id}`);
      return [
        ...of(
          'process',
          processesIn(cgroup).map((pid) => `${pid} ${commandOf(pid)}`),
        ),
        ...of('cgroup', existsSync(cgroup) ? [cgroup] : []),
        ...(there && !record?.ended ? [containerLeftover(state.root, id, state.remove || !record)] : []),
        ...of('state', [`${runRoot}/${id}`]),
      ];
    } finally {
      folder.release();
    }
  });
}

function containerLeftover(root: string, id: string, goes: boolean): Leftover {
  const folder = `${root}/containers/${id}`;
  return goes ? { kind: 'container', name: folder } : { kind: 'record', name: `${folder}/container.json` };
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '(ended)';
  }
}
