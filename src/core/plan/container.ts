/**
 * From what the user asked for (the spec) and what the host is (facts) to what will be done (the plan). Pure: no I/O,
 * so that explain and tests get the very plan that would run. Throws ContainerError with the field's JSON pointer.
 */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { Capabilities, Device, Linux, NamespaceType, Process, Spec } from '../spec/types.ts';
import { allCapabilities, capabilitiesIn, capabilitySet } from './capabilities.ts';
import { planCgroup } from './cgroup.ts';
import { planMount, propagationOf } from './mounts.ts';
import type { DevicePlan, ExecPlan, IdMaps, NamespacePlan, Plan, ProcessPlan, RootPlan, UserPlan } from './plan.ts';
import { planRlimits } from './rlimits.ts';
import { hostId, newUserMaps } from './user-namespace.ts';

/** What planning needs to know of the host. */
export interface HostFacts {
  /** CapPrm of /proc/self/status: nobody can give what it has not. */
  permittedCapabilities: bigint;
}

/** What is decided outside the spec. */
export interface PlanInput {
  id: string;
  spec: Spec;
  root: Pick<RootPlan, 'source' | 'target' | 'chroot'>;
  /** Text to look up in the container, in place of process.user. */
  user?: UserPlan;
  createCwd?: boolean;
  init?: boolean;
  /** The compiled filter of linux.seccomp. */
  seccomp?: { program: Uint8Array; flags: number };
  scheduling?: ProcessPlan['scheduling'];
  labels?: ProcessPlan['labels'];
  terminal?: { rows: number; columns: number };
  cgroupPath: string;
}

/** CLONE_NEW* by OCI's names. */
export const namespaceFlags: Record<NamespaceType, number> = {
  mount: k.CLONE_NEWNS,
  pid: k.CLONE_NEWPID,
  uts: k.CLONE_NEWUTS,
  ipc: k.CLONE_NEWIPC,
  network: k.CLONE_NEWNET,
  cgroup: k.CLONE_NEWCGROUP,
  user: k.CLONE_NEWUSER,
  time: k.CLONE_NEWTIME,
};

export function planContainer(input: PlanInput, facts: HostFacts): Plan {
  const { spec } = input;
  const linux = spec.linux ?? {};
  const maps = newUserMaps(linux);
  const idMaps = maps ? [maps] : [];
  const namespaces = planNamespaces(linux, maps);
  const isNew = (type: NamespaceType) => linux.namespaces?.some((n) => n.type === type && !n.path) ?? false;
  const devices = [...defaultDevices.map(planDevice), ...(linux.devices ?? []).map(planDevice)];
  const plan: Plan = {
    id: input.id,
    namespaces,
    idMaps,
    root: {
      ...input.root,
      readonly: spec.root?.readonly ?? false,
      propagation: propagationOf(linux.rootfsPropagation),
    },
    mounts: (spec.mounts ?? []).map((mount, i) => planMount(mount, i, idMaps)),
    devices: devices.map((device) => ownedIn(maps, device)),
    maskedPaths: linux.maskedPaths ?? [],
    readonlyPaths: linux.readonlyPaths ?? [],
    sysctls: Object.entries(linux.sysctl ?? {}).map(([key, value]) => ({ path: key.replaceAll('.', '/'), value })),
    loopback: isNew('network'),
    process: planProcess(spec.process, input, namespaces.user ? { permittedCapabilities: allCapabilities } : facts),
    cgroup: planCgroup(input.cgroupPath, linux.resources ?? {}),
  };
  if (spec.hostname !== undefined) plan.hostname = spec.hostname;
  if (spec.domainname !== undefined) plan.domainname = spec.domainname;
  if (spec.process?.terminal) plan.terminal = input.terminal ?? { rows: 0, columns: 0 };
  return plan;
}

/** `seccomp` is the container's compiled filter. */
export function planExec(
  process: Process,
  input: Omit<ProcessInput, 'init' | 'createCwd'> & Pick<PlanInput, 'terminal'>,
  facts: HostFacts,
): ExecPlan {
  const plan = { process: planProcess(process, input, facts) };
  return process.terminal ? { ...plan, terminal: input.terminal ?? { rows: 0, columns: 0 } } : plan;
}

/** Device nodes are made on the host's side, with the host's ids. */
function ownedIn(maps: IdMaps | undefined, device: DevicePlan): DevicePlan {
  return maps
    ? { ...device, uid: hostId(maps.uid, device.uid) ?? -1, gid: hostId(maps.gid, device.gid) ?? -1 }
    : device;
}

/** Source: time_namespaces(7). */
function offsetLines({ timeOffsets = {} }: Linux): string {
  const lines = Object.entries(timeOffsets).map(
    ([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`,
  );
  return lines.join('');
}

function planNamespaces(linux: Linux, maps: IdMaps | undefined): NamespacePlan {
  let clone = 0;
  const join: { type: string; flag: number; path: string; specPointer: string }[] = [];
  for (const [index, { type, path }] of (linux.namespaces ?? []).entries()) {
    const specPointer = `/linux/namespaces/${index}`;
    if (!Object.hasOwn(namespaceFlags, type))
      throw new ContainerError(`unknown namespace ${type}; known are ${Object.keys(namespaceFlags).join(', ')}`, {
        specPointer: `${specPointer}/type`,
      });
    const flag = namespaceFlags[type];
    if (path) join.push({ type, flag, path, specPointer: `${specPointer}/path` });
    else clone |= flag;
  }
  if (!(clone & k.CLONE_NEWNS))
    throw new ContainerError('a container needs a mount namespace of its own', { specPointer: '/linux/namespaces' });
  const root = maps && { uid: hostId(maps.uid, 0)!, gid: hostId(maps.gid, 0)! };
  const inUser = maps || join.some(({ flag }) => flag === k.CLONE_NEWUSER);
  return {
    clone: clone & ~(k.CLONE_NEWCGROUP | k.CLONE_NEWUSER | k.CLONE_NEWTIME),
    newCgroup: (clone & k.CLONE_NEWCGROUP) !== 0,
    join,
    ...(inUser && { user: root ? { root } : {} }),
    ...(clone & k.CLONE_NEWTIME && { timeOffsets: offsetLines(linux) }),
  };
}

/** Source: config-linux.md "Default Devices"; console and ptmx are made with the terminal and devpts. */
const defaultDevices: Device[] = [
  { path: '/dev/null', type: 'c', major: 1, minor: 3 },
  { path: '/dev/zero', type: 'c', major: 1, minor: 5 },
  { path: '/dev/full', type: 'c', major: 1, minor: 7 },
  { path: '/dev/random', type: 'c', major: 1, minor: 8 },
  { path: '/dev/urandom', type: 'c', major: 1, minor: 9 },
  { path: '/dev/tty', type: 'c', major: 5, minor: 0 },
];

const deviceTypes = { c: k.S_IFCHR, u: k.S_IFCHR, b: k.S_IFBLK, p: k.S_IFIFO };

function planDevice(device: Device, index: number): DevicePlan {
  if (!Object.hasOwn(deviceTypes, device.type))
    throw new ContainerError(
      `${device.path} has the type ${JSON.stringify(device.type)}; known are ${Object.keys(deviceTypes).join(', ')}`,
      { specPointer: `/linux/devices/${index}/type` },
    );
  return {
    path: device.path,
    mode: deviceTypes[device.type] | ((device.fileMode ?? 0o666) & 0o7777),
    major: device.major ?? 0,
    minor: device.minor ?? 0,
    uid: device.uid ?? 0,
    gid: device.gid ?? 0,
  };
}

type ProcessInput = Pick<PlanInput, 'user' | 'createCwd' | 'init' | 'seccomp' | 'scheduling' | 'labels'>;

function planProcess(process: Process | undefined, input: ProcessInput, facts: HostFacts): ProcessPlan {
  if (!process?.args?.length) throw new ContainerError('there is no command to run', { specPointer: '/process/args' });
  if (!process.cwd.startsWith('/'))
    throw new ContainerError(`cwd is ${JSON.stringify(process.cwd)}; it must be an absolute path`, {
      specPointer: '/process/cwd',
    });
  const { uid, gid, additionalGids = [], umask = 0o022 } = process.user;
  const plan: ProcessPlan = {
    args: process.args,
    env: process.env ?? [],
    cwd: process.cwd,
    createCwd: input.createCwd ?? false,
    user: input.user ?? { kind: 'ids', uid, gid, additionalGids },
    umask,
    capabilities: planCapabilities(process, facts),
    rlimits: planRlimits(process.rlimits ?? []),
    noNewPrivileges: process.noNewPrivileges ?? false,
    init: input.init ?? false,
  };
  if (process.oomScoreAdj !== undefined) plan.oomScoreAdj = process.oomScoreAdj;
  if (input.seccomp) plan.seccomp = input.seccomp;
  if (input.scheduling) plan.scheduling = input.scheduling;
  if (input.labels) plan.labels = input.labels;
  return plan;
}

function planCapabilities(process: Process, facts: HostFacts): ProcessPlan['capabilities'] {
  const named = process.capabilities ?? {};
  const set = (name: keyof Capabilities) => capabilitySet(named[name], `/process/capabilities/${name}`);
  const sets = {
    bounding: set('bounding'),
    effective: set('effective'),
    permitted: set('permitted'),
    inheritable: set('inheritable'),
    ambient: set('ambient'),
  };
  const missing = capabilitiesIn((sets.permitted | sets.effective | sets.inheritable) & ~facts.permittedCapabilities);
  if (missing.length > 0)
    throw new ContainerError(`${missing.join(', ')} can't be given: tinyctr itself does not have it`, {
      specPointer: '/process/capabilities',
      hint: 'see CapPrm in /proc/self/status; whoever started this shell took it away',
    });
  return sets;
}
