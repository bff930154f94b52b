/** `create` and `run` up to where they part: from a bundle to a process that waits at its gate, or already runs. Host side. */
import { chmodSync, closeSync, existsSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { type LaunchOptions, launch, type RunningContainer } from '../core/container/launch.ts';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { syscall } from '../core/host/syscall.ts';
import { socketPair } from '../core/host/wire.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { Plan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';
import { type ContainerState, destroyContainer, startTime } from '../lifecycle/lifecycle.ts';
import { removeUnborn, StateFolder } from '../lifecycle/state.ts';
import { notifies } from '../seccomp/rules.ts';
import type { Bundle, BundleRequest } from './config.ts';
import { loadBundle } from './config.ts';
import { type Globals, specVersion } from './globals.ts';
import { debug, observer, reporter, warn, withoutCall } from './log.ts';
import { permittedCapabilities, planBundle } from './plan.ts';
import { checkId, listContainers } from './state.ts';
import { asInImage, isMadeHere } from './tmpfs.ts';

export interface Prepared {
  bundle: Bundle;
  plan: Plan;
  lock: StateFolder<ContainerState>;
}

/** Reads and checks everything, and takes the id. Nothing has happened to the host before. */
export function prepare(globals: Globals, id: string, request: BundleRequest): Prepared {
  checkId(id);
  const permitted = permittedCapabilities();
  const bundle = loadBundle(request, permitted, reporter(globals));
  const plan = planBundle(bundle, id, `${globals.root}/.seccomp`, permitted);
  removeUnborn(globals.root);
  const lock = takeId(globals.root, id, bundle, plan);
  try {
    checkCgroup(globals.root, id, plan.cgroup.path);
    // runtime.md: what becomes of the bundle's file after create has no effect on the container
    const file = `${lock.path}/config.json`;
    writeFileSync(`${file}.new`, JSON.stringify(bundle.spec), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (error) {
    lock.remove();
    throw error;
  }
  return { bundle, plan, lock };
}

/** An empty cgroup may be taken, but not another container's: the end of one would be the other's. */
function checkCgroup(root: string, id: string, path: string): void {
  if (!existsSync(cgroupRoot() + path)) return;
  const other = listContainers(root).find(({ state }) => state.cgroup === path && state.id !== id);
  if (other)
    throw new ContainerError(`container's cgroup is not empty: ${path} belongs to container ${other.state.id}`, {
      specPointer: '/linux/cgroupsPath',
    });
}

function takeId(root: string, id: string, { path, spec, rootfs }: Bundle, plan: Plan): StateFolder<ContainerState> {
  try {
    return StateFolder.create<ContainerState>(root, {
      id,
      ociVersion: specVersion,
      bundle: path,
      rootfs,
      created: new Date().toISOString(),
      annotations: spec.annotations ?? {},
      cgroup: plan.cgroup.path,
      pid: 0,
      startTime: '',
    });
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as { code?: string }).code ?? '')) throw error;
    removeUnborn(root);
    throw new ContainerError('container with given ID already exists', { hint: `tinyctr-oci delete ${id}` });
  }
}

const explainer = (plan: Plan) => async (error: unknown, hostPid: number) =>
  withoutCall((await import('../explain/failure.ts')).explainFailure(error, plan, hostPid));

/** Launches, and notes in state.json what is true at each moment. On failure only the id is left, the caller's to remove. */
export async function launchPrepared(
  globals: Globals,
  { bundle: { spec, rootfs }, plan, lock }: Prepared,
  options: Pick<LaunchOptions, 'stdio' | 'preserved'>,
  waits: boolean,
): Promise<RunningContainer> {
  const state = lock.read();
  const hooks = spec.hooks && (await import('./hooks.ts'));
  const { seccomp } = spec.linux ?? {};
  const agents = notifies(seccomp) ? await import('./seccomp-agent.ts') : undefined;
  agents?.expectAgent(seccomp!);
  let [hooked, launched] = [false, false];
  let listener: LaunchOptions['listener'];
  const interlude = (moment: 'mounted' | 'ready') => {
    hooked = true;
    if (moment === 'mounted') hooks?.runCreateHooks(spec, state);
    else if (!waits) {
      const connect = () => agents!.connectAgent(seccomp!, state, 'created');
      hooks?.runStartHooks(spec, state, plan.process, connect);
      if (agents) listener = connect();
    }
  };
  if (plan.process.seccomp) debug(globals, `seccomp filter flags: ${plan.process.seccomp.flags}`);
  const watch = observer(globals);
  const born = (pid: number) => {
    Object.assign(state, { pid, startTime: startTime(pid) });
    lock.write(state);
  };
  const outbox = waits && agents ? socketPair() : [];
  const created = waits ? { created: { ...makeGate(lock.path), outbox } } : {};
  let filled: HostFd[] = [];
  try {
    let { mounts } = plan;
    if (mounts.some(isMadeHere)) ({ mounts, filled } = asInImage(mounts, rootfs));
    const container = await launch(
      { ...plan, mounts },
      {
        ...options,
        ...created,
        ...(watch ? { observer: watch } : {}),
        ...(hooks || agents ? { interlude } : {}),
        listener: (fd, hostPid) => listener!(fd, hostPid),
        born,
        explain: explainer(plan),
      },
    );
    launched = true;
    lock.write(container.last ? { ...state, last: container.last } : { ...state, running: true });
    if (!waits) hooks?.runPoststartHooks(spec, state);
    return container;
  } catch (error) {
    if (launched) destroyContainer(state); // nobody would know of it: the disk is full
    if (hooked) hooks?.runPoststopHooks(spec, state, (message) => warn(globals, message));
    throw error;
  } finally {
    for (const fd of [...filled, ...outbox]) closeSync(fd);
  }
}

/** mkfifo(3), and the page that the stage notes its calls on. */
function makeGate(folder: string): { gate: HostFd; page: HostFd } {
  syscall('mknodat', [k.AT_FDCWD, `${folder}/gate`, k.S_IFIFO | 0o600, 0]);
  chmodSync(`${folder}/gate`, 0o622); // the folder is root's alone; a container in a user namespace has a descriptor
  writeFileSync(`${folder}/page`, Buffer.alloc(4096), { mode: 0o600 });
  return { gate: openSync(`${folder}/gate`, k.O_PATH) as HostFd, page: openSync(`${folder}/page`, 'r+') as HostFd };
}
