/**
 * A container that is there before it runs, and after: made once, started as often as anybody likes. What was asked for stands in
 * its folder, so that a later start asks nothing of the caller again. Host side.
 */
import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { type LaunchOptions, launch } from '../core/container/launch.ts';
import { cgroupRoot, killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { type ExitStatus, sendSignal } from '../core/host/child.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { Plan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { findImage, layersFolder } from '../image/store.ts';
import { type RunState, StateFolder } from '../lifecycle/state.ts';
import { askedRun, type StoreRequest, withIdMaps } from './asked.ts';
import { cleanupOne } from './cleanup.ts';
import { bootId, type ContainerRecord, changeRecord, damagedContainer, type Ended, readRecord } from './containers.ts';
import { exitCode } from './foreground.ts';
import { factsOf, readHits } from './hits.ts';
import { containerEvent, endEvents, tell } from './journal.ts';
import { LOG_NAME } from './logs.ts';
import { makePlan, mapLayers, withVolumes } from './plan.ts';
import { checkCidfile, recordOf, register, storedOf, writeEtcFiles } from './register.ts';
import { removeWithVolumes } from './remove-container.ts';
import { explainer } from './run.ts';
import { type LifeOptions, readStored, type StoredContainer, storedIfWhole, writeStored } from './stored-file.ts';
import { pipe } from './wait.ts';

/** Makes a container that nobody runs yet. Returns its id, and what lets a prune have it. Throws what `run` would; then nothing of it is left. */
export async function createStored(
  request: StoreRequest,
  life: LifeOptions,
): Promise<{ id: string; release: () => void }> {
  const { root, options } = request;
  return await withIdMaps(request, async (idMaps) => {
    const asked = askedRun(request, idMaps);
    const { id } = asked;
    const plan = makePlan(request, asked, `${root}/seccomp`, idMaps && { lower: request.image.layers, idMapped: true });
    checkCidfile(options);
    const { boot: _, ...record } = recordOf(request, asked, plan.process.args, idMaps); // it outlives any boot
    let release = () => {};
    const made = await register(request, asked, record, (hold) => {
      release = () => closeSync(hold);
    });
    try {
      writeStored(root, id, storedOf(request, asked, plan, life));
      if (life.log.driver !== 'none') writeFileSync(`${root}/containers/${id}/${LOG_NAME}`, '', { mode: 0o600 }); // who follows it can open it before the start
      if (options.cidfile !== undefined) writeFileSync(options.cidfile, id, { flag: 'wx' });
    } catch (error) {
      removeWithVolumes(root, id);
      release();
      throw error;
    }
    tell(root, [containerEvent(made, 'create')]);
    return { id, release };
  });
}

/** Descriptors of a container that was started; all owned by the caller. */
export interface Started {
  pid: number;
  child: HostFd;
  lock: HostFd;
  /** Where its log is to be; undefined if nobody wants one. */
  logFolder: HostFd | undefined;
  /** The read end of its standard output, or its terminal. */
  out: HostFd;
  err: HostFd | undefined;
  /** The write end of its standard input, or its terminal. */
  in: HostFd | undefined;
}

/**
 * Starts it as a child of this process's parent. `again`: its restart policy asks for it, nobody else. `born` hears the pid of every process that was to become the container's.
 * Throws what kept it from running, which its record tells then; else it is as it was before.
 */
export async function startStored(
  root: string,
  runRoot: string,
  id: string,
  again: boolean,
  born: (pid: number) => void,
): Promise<Started> {
  const record = readRecord(root, id);
  if (record === undefined) throw noSuch(id);
  if (record.damage !== undefined) throw damagedContainer(id, record.damage);
  const stored = readStored(root, id);
  const image = findImage(root, record.image);
  if (image === undefined) throw new ContainerError(`the image ${record.imageName} is gone`);
  const source = { root, image, layersFolder: layersFolder(root), options: stored };
  const layers = record.idMaps && (await mapLayers(source, record.idMaps));
  const plan = counted(makePlan(source, { id, ...stored }, `${root}/seccomp`, layers));
  const state = { id, pid: 0, cgroup: plan.cgroup.path, root, remove: stored.rm };
  const states = takeContainer(root, runRoot, state);
  // After its state folder is there: whoever removes containers looks for that with the record's lock.
  if (!changeRecord(root, id, (now) => now)) {
    states.remove();
    throw noSuch(id);
  }
  if (JSON.stringify(readStored(root, id).limits) !== JSON.stringify(stored.limits)) {
    states.remove(); // limited anew meanwhile: whoever did that has seen nobody who runs it
    return await startStored(root, runRoot, id, again, born);
  }
  const given = standardStreams(stored);
  try {
    writeEtcFiles(states.path, stored.etc, stored.wanted, record.idMaps);
    const options: LaunchOptions = {
      stdio: given.theirs,
      sibling: true,
      explain: explainer(plan),
      born(pid) {
        born(pid);
        states.write({ ...state, pid });
      },
    };
    const container = await withVolumes(root, stored.wanted.volumes, plan, (whole) => launch(whole, options));
    const { terminal, hostPid: pid, pidfd: child } = container;
    let logFolder: HostFd | undefined;
    try {
      if (stored.log.driver !== 'none') logFolder = openFolder(`${root}/containers/${id}`);
      noteStart(root, id, again);
    } catch (error) {
      sendSignal(child, k.SIGKILL); // the disk is full: nobody could say that it runs
      killCgroup(cgroupRoot() + state.cgroup);
      removeCgroup(cgroupRoot() + state.cgroup);
      for (const fd of [terminal, child, logFolder]) if (fd !== undefined) closeSync(fd);
      throw error;
    }
    const ours = terminal === undefined ? given.ours : { out: terminal, err: undefined, in: terminal };
    return { pid, child, lock: states.descriptor, logFolder, ...ours };
  } catch (error) {
    given.discard();
    states.remove();
    try {
      noteFailure(root, id, error as Error);
    } catch {
      // A full disk: the caller is told.
    }
    throw error;
  } finally {
    given.handOver();
  }
}

/** Every controller that there is counts for it, as with docker, so that stats has something to tell. */
const counted = (plan: Plan): Plan => ({ ...plan, cgroup: { ...plan.cgroup, everyController: true } });

/** Only now that it runs: who was killed before has changed nothing. It may have been renamed meanwhile. */
function noteStart(root: string, id: string, again: boolean): void {
  const started = changeRecord(root, id, (record) => {
    const { ended: _, stopped: __, dueMs: ___, failure: ____, restarts = 0, pauseMs, ...rest } = record;
    const policy = again && pauseMs !== undefined ? { restarts, pauseMs } : { restarts: 0 };
    return { ...rest, started: new Date().toISOString(), boot: bootId(), ...policy };
  });
  if (started) tell(root, [containerEvent(started, 'start')]);
}

/** It did not get to run, and waits for no next start. */
function noteFailure(root: string, id: string, { message }: Error): void {
  changeRecord(root, id, (record) => {
    const { dueMs: _, ...rest } = record;
    return { ...rest, failure: message };
  });
}

/** The container is the caller's alone until the folder is removed. @throws ContainerError if somebody has it */
function takeContainer(root: string, runRoot: string, state: RunState): StateFolder {
  for (let isTold = false; ; isTold = true)
    try {
      return StateFolder.create(runRoot, state);
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as { code?: string }).code ?? '')) throw error;
      const why = 'it runs, or is being started by somebody else';
      if (isTold)
        throw new ContainerError(`container ${state.id.slice(0, 12)} can't be started: ${why}`, { exitCode: 1 });
      cleanupOne(root, runRoot, state.id); // an orphan
    }
}

const openFolder = (path: string): HostFd => openSync(path, k.O_PATH | k.O_DIRECTORY) as HostFd;

/** What becomes its 0, 1 and 2, and the other ends. With a terminal, nothing of it is used for longer than the start. */
function standardStreams({ tty, interactive }: StoredContainer) {
  const nothing = () => openSync('/dev/null', constants.O_RDWR) as HostFd;
  const [stdinRead, stdinWrite] = interactive && !tty ? pipe() : [nothing(), undefined];
  const [stdout, stderr] = tty ? [[nothing(), nothing()], undefined] : [pipe(), pipe()];
  const ours = { out: stdout[0]!, err: stderr?.[0], in: stdinWrite };
  const theirs = [stdinRead, stdout[1]!, stderr?.[1] ?? stdinRead] as const;
  const close = (fds: Iterable<HostFd | undefined>) => {
    for (const fd of new Set(fds)) if (fd !== undefined) closeSync(fd);
  };
  return {
    theirs,
    ours,
    handOver: () => close([...theirs, ...(tty ? [ours.out] : [])]),
    discard: () => close(tty ? [] : Object.values(ours)),
  };
}

/** How it ended; none of its processes outlives it. `settle` comes next. */
export function endOf(root: string, state: RunState, status: ExitStatus): Ended {
  const cgroup = `${cgroupRoot()}${state.cgroup}`;
  killCgroup(cgroup); // in a pid namespace that is not its own, others may have outlived it
  const code = exitCode(status);
  const hits = readHits(cgroup, storedIfWhole(root, state.id)?.limits ?? [], code);
  const limitsHit = hits.length > 0 ? { limitsHit: factsOf(hits) } : {};
  return { at: new Date().toISOString(), exitCode: code, ...limitsHit };
}

/** What becomes of it after its end: with `dueMs`, it comes back. */
export type AfterEnd = Pick<ContainerRecord, 'restarts' | 'pauseMs' | 'dueMs' | 'stopped'>;

/**
 * Its cgroup is gone afterwards, its end is written down, and what comes `next`; once: told a second time, it stays. Throws what kept it
 * from that; then it can be tried again.
 */
export function settle(
  root: string,
  state: RunState,
  ended: Ended,
  next: (record: ContainerRecord) => AfterEnd,
): ContainerRecord | undefined {
  removeCgroup(`${cgroupRoot()}${state.cgroup}`);
  let isNew = true;
  const record = state.remove
    ? readRecord(root, state.id) // all of it goes
    : changeRecord(root, state.id, (now) => {
        isNew = !now.ended;
        return isNew ? { ...now, ended, ...next(now) } : now;
      });
  if (record && isNew) tell(root, endEvents(record, ended.exitCode, ended.limitsHit));
  return state.remove ? undefined : record;
}

const noSuch = (id: string) => new ContainerError(`no such container: ${id.slice(0, 12)}`);
