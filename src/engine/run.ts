/** `tinyctr run`, from options to exit status: what is asked for, plan, launch, supervise, clean up. Host side. */
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { type LaunchOptions, launch, type RunningContainer } from '../core/container/launch.ts';
import { cgroupRoot, killCgroup, removeCgroup } from '../core/host/cgroup.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps, Plan } from '../core/plan/plan.ts';
import type { HostFd, Observer } from '../core/stage/stage.ts';
import { type RunState, StateFolder } from '../lifecycle/state.ts';
import { askedRun, type StoreRequest, withIdMaps } from './asked.ts';
import { changeRecord, type Ended } from './containers.ts';
import { exitCode, openStdio, superviseForeground } from './foreground.ts';
import { factsOf, type Hit, readHits } from './hits.ts';
import { containerEvent, endEvents, tell } from './journal.ts';
import { makePlan, mapLayers, withVolumes } from './plan.ts';
import { checkCidfile, recordOf, register, storedOf, writeEtcFiles } from './register.ts';
import { removeWithVolumes } from './remove-container.ts';
import { inForeground, writeStored } from './stored-file.ts';
import { isTerminal } from './terminal.ts';

export interface RunRequest extends StoreRequest {
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
  /** The half-built container is taken down when this returns. Told again of the same failure it does nothing. */
  failed(error: unknown): void;
}

/** Returns the exit status of the container's command. Throws what went wrong before it ran; then nothing of it is left. */
export async function run(request: RunRequest): Promise<number> {
  return await withIdMaps(request, (idMaps) => runWith(request, idMaps));
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
  let record = recordOf(request, asked, plan.process.args, idMaps);
  try {
    record = await register(request, asked, record);
  } catch (error) {
    states.remove();
    throw error;
  }
  let cidfileWritten = false;
  const made = containerEvent(record, 'create');
  let ran: Awaited<ReturnType<typeof runForeground>>;
  try {
    writeStored(root, id, storedOf(request, asked, plan, life));
    writeEtcFiles(stateFolder, options, wanted, idMaps);
    if (options.cidfile !== undefined) {
      writeFileSync(options.cidfile, id, { flag: 'wx' });
      cidfileWritten = true;
    }
    await request.before?.();
    const moments = {
      born: (pid: number) => states.write({ ...state, pid }),
      started: () => tell(root, [made, containerEvent(record, 'attach'), containerEvent(record, 'start')]),
    };
    const watched = request.watch && { watch: request.watch, id, folder: stateFolder };
    const start = (options: LaunchOptions) =>
      withVolumes(root, wanted.volumes, plan, (whole) => launch(whole, options));
    ran = await runForeground(start, plan, interactive, request.observer, moments, watched);
  } catch (error) {
    removeWithVolumes(root, id); // it never ran
    tell(root, [made, containerEvent(record, 'destroy')]);
    if (cidfileWritten) rmSync(options.cidfile!, { force: true });
    states.remove();
    throw error;
  }
  const { status, hits, cgroupGone } = ran;
  const ended = {
    at: new Date().toISOString(),
    exitCode: status,
    ...(hits.length > 0 && { limitsHit: factsOf(hits) }),
  };
  const isDone = isWrittenDown(root, states, state, ended);
  const events = endEvents(record, status, ended.limitsHit);
  if (isDone) tell(root, options.rm ? [...events, containerEvent(record, 'destroy')] : events);
  if (isDone && cgroupGone) states.remove();
  else states.release(); // an orphan's from now on: the next command tries again
  if (hits.length > 0) await request.tell(hits);
  return status;
}

/** False, with a warning, where the disk has no room for it: then its state knows the end. The command has its exit status all the same. */
function isWrittenDown(root: string, states: StateFolder, state: RunState, ended: Ended): boolean {
  try {
    if (state.remove) removeWithVolumes(root, state.id);
    else changeRecord(root, state.id, (record) => ({ ...record, ended }));
    return true;
  } catch (error) {
    warn(`${(error as Error).message}: the next command, or tinyctr cleanup, tries again`);
    try {
      states.write({ ...state, ended });
    } catch {
      // Neither has room: it will be shown as killed.
    }
    return false;
  }
}

const warn = (text: string): unknown => writeSync(2, `tinyctr: warning: ${text}\n`);

export const explainer = (plan: Plan, watch?: Watch) => async (error: unknown, hostPid: number) => {
  const explained = (await import('../explain/failure.ts')).explainFailure(error, plan, hostPid);
  watch?.failed(explained);
  return explained;
};

async function runForeground(
  start: (options: LaunchOptions) => Promise<RunningContainer>,
  plan: Plan,
  interactive: boolean,
  observer: Observer | undefined,
  moments: { born(pid: number): void; started(): void },
  watched?: { watch: Watch; id: string; folder: string },
): Promise<{ status: number; hits: readonly Hit[]; cgroupGone: boolean }> {
  const stdio = openStdio(plan.terminal === undefined && interactive);
  const supervise = superviseForeground();
  let container: RunningContainer;
  try {
    if (watched) {
      const { watch, ...made } = watched;
      const cgroup = `${cgroupRoot()}${plan.cgroup.path}`;
      watch.begin({ ...made, plan, cgroup, noStdin: !interactive, signals: supervise.caught });
    }
    container = await start({
      stdio: stdio.fds,
      born: (pid) => {
        watched?.watch.born(pid);
        moments.born(pid);
      },
      explain: explainer(plan, watched?.watch),
      ...(watched ? { observer: watched.watch.observer } : observer ? { observer } : {}),
    });
  } catch (error) {
    watched?.watch.failed(error); // also where it failed before anything could be explained
    stdio.discard();
    throw error;
  }
  const relaying = await stdio.handOver();
  moments.started();
  const detach =
    container.terminal === undefined
      ? undefined
      : (await import('./relay.ts')).attachTerminal(container.terminal, interactive, { first: container });
  const status = exitCode(await supervise(container.pidfd, relaying || detach !== undefined));
  killCgroup(container.cgroup); // in a pid namespace that is not its own, others may have outlived it
  await detach?.();
  await stdio.drained();
  const hits = readHits(container.cgroup, plan.cgroup.files, status, observer !== undefined);
  return { status, hits, cgroupGone: endCgroup(container.cgroup) };
}

/** False, with a warning, if somebody keeps it: the command has its exit status all the same. */
function endCgroup(cgroup: string): boolean {
  try {
    removeCgroup(cgroup);
    return true;
  } catch (error) {
    const { code } = error as { code?: string };
    warn(`${cgroup} can't be removed (${code}): the next command, or tinyctr cleanup, tries again`);
    return false;
  }
}
