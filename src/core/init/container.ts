/**
 * THE sequence: from a process in fresh namespaces to the container's first instruction, top to bottom. Host side, but
 * every `stage.` line is one system call inside the container that is being built. The steps' texts are data:
 * explain, trace and step show them. It reaches the container through the stage only: no node:fs, no host code.
 */
import * as k from '../kernel/constants.ts';
import type { Plan } from '../plan/plan.ts';
import type { HostFd, Stage, StageFd } from '../stage/stage.ts';
import { findCommand } from './command.ts';
import { mountConsole, openTerminal } from './console.ts';
import { makeDevices } from './devices.ts';
import { enterDirectory } from './directory.ts';
import { attachMount, openBinds } from './mounts.ts';
import { maskPaths, protectPaths } from './paths.ts';
import { writeProc } from './proc.ts';
import { becomeProcess } from './process.ts';
import { mountRoot } from './rootfs.ts';
import { lookUpUser } from './user.ts';
import { enterTimeNamespace, enterUserNamespace } from './user-namespace.ts';

/** Host descriptors that go into the container with it. */
export interface InitDescriptors {
  /** Namespaces to join, in the plan's order, and the user namespaces of its idMaps. */
  namespaces: readonly HostFd[];
  /** The sealed init program, if the plan wants one. */
  init?: HostFd | undefined;
  /** Inherited pipes among 0, 1, 2 that become the user's. */
  pipes: readonly number[];
  /** Become 3 and up of the container. */
  preserved?: readonly HostFd[];
  /** O_PATH descriptor of the FIFO that the container waits at for its start; without it, it starts at once. */
  gate?: HostFd | undefined;
  /** Both ends of a socket for the filter's listener, if there is a gate and the filter has one. */
  outbox?: readonly HostFd[];
  /** The container's process is a child of the stage's, with this pid. */
  forked?: (hostPid: number) => void;
}

/** Tells what the host has to go on with while the last frame is under way: the terminal's master end. */
export type Ready = (terminal: HostFd | undefined) => void;

/** Returns when the process is the container's own. Throws SyscallError and ContainerError; then the stage still answers. */
export function initContainer(
  stage: Stage,
  plan: Plan,
  descriptors: InitDescriptors,
  ready: Ready,
  mounted?: () => void,
): void {
  stage.step({
    id: 'protect',
    why: 'from here on, no process of the container can attach to this one with ptrace or read its descriptors',
    without: 'a process already in a joined namespace could take over the one that is still privileged',
    see: ['PR_SET_DUMPABLE(2const)', 'CVE-2016-9962'],
  });
  stage.set_undumpable();
  stage.umask(0); // modes below are meant as they stand
  const fds = stage.receive_fds(descriptors.namespaces);
  const [init] = stage.receive_fds(descriptors.init === undefined ? [] : [descriptors.init]);
  const [fifo] = stage.receive_fds(descriptors.gate === undefined ? [] : [descriptors.gate]);
  const outbox = stage.receive_fds(descriptors.outbox ?? []);
  const preserved = stage.receive_fds(descriptors.preserved ?? []);

  stage.step({
    id: 'namespaces.join',
    why: 'namespaces that belong to somebody else are entered, their types were checked before',
    see: ['setns(2)', 'config-linux.md: Namespaces'],
  });
  const { join, user, timeOffsets } = plan.namespaces;
  const idMaps = fds.slice(join.length);
  for (const [i, { flag }] of join.entries())
    if (flag !== k.CLONE_NEWUSER && (flag !== k.CLONE_NEWPID || user)) stage.setns(fds[i]!, flag);
  if (timeOffsets !== undefined) enterTimeNamespace(stage, timeOffsets);

  const binds = openBinds(stage, plan.mounts, idMaps);

  stage.step({
    id: 'mounts.propagation',
    why: 'nothing mounted from here on reaches the host, even where its mounts are shared',
    without: 'every mount below would appear on the host as well, and stay there',
    see: ['mount_namespaces(7)'],
  });
  stage.mount('', '/', null, k.MS_SLAVE | k.MS_REC, null);

  const mountedRoot = mountRoot(stage, plan.root, idMaps[0]);
  const joined = fds[join.findIndex(({ flag }) => flag === k.CLONE_NEWUSER)];
  const { root, nodes } = user
    ? enterUserNamespace(stage, plan, mountedRoot, joined ?? idMaps[0]!, descriptors.forked!)
    : { root: mountedRoot };
  const gate = fifo && {
    fifo,
    outbox,
    descriptors: stage.openat2(k.AT_FDCWD, '/proc/self/fd', k.O_PATH | k.O_DIRECTORY, 0),
  };

  stage.step({
    id: 'namespaces.cgroup',
    why: 'the cgroup namespace takes the cgroup that the process is in as its root: the process was born in its own',
    without: '/proc/self/cgroup and /sys/fs/cgroup show the host’s whole tree',
    see: ['cgroup_namespaces(7)'],
  });
  if (plan.namespaces.newCgroup) stage.unshare(k.CLONE_NEWCGROUP);

  for (const mount of plan.mounts) attachMount(stage, root, mount, binds);
  const nullDevice = makeDevices(stage, root, plan.devices, nodes);
  const terminal = plan.terminal && openTerminal(stage, root, plan.terminal);
  if (terminal) mountConsole(stage, root, terminal);
  for (const mount of plan.lateRemounts ?? []) attachMount(stage, root, mount, binds);
  if (mounted) {
    stage.step({
      id: 'hooks',
      why: 'everything is mounted and the host’s files are still within reach: others may now act on the container',
      see: ['config.md: createRuntime Hooks, createContainer Hooks'],
    });
    stage.flush();
    mounted();
  }
  const identity = lookUpUser(stage, root, plan.process.user);
  writeProc(stage, plan.sysctls, user ? {} : plan.process);
  maskPaths(stage, root, plan.maskedPaths, nullDevice);
  protectPaths(stage, root, plan.readonlyPaths);
  if (plan.root.chroot) changeRoot(stage, root);
  else pivotRoot(stage, root);

  stage.step({
    id: 'hostname',
    why: 'the uts namespace begins with the host’s names',
    see: ['sethostname(2)', 'uts_namespaces(7)'],
  });
  if (plan.hostname !== undefined) stage.sethostname(plan.hostname);
  if (plan.domainname !== undefined) stage.setdomainname(plan.domainname);

  stage.step({
    id: 'network.loopback',
    why: 'a new network namespace has a loopback interface that is down',
    without: 'a server and its client in the same container don’t find each other on 127.0.0.1',
    see: ['network_namespaces(7)', 'netdevice(7)'],
  });
  if (plan.loopback) stage.interface_up('lo');

  enterDirectory(stage, plan.process);

  stage.step({
    id: 'rootfs.flags',
    why: 'root.readonly and rootfsPropagation, now that nothing more is made in it, not even the working directory',
    see: ['config.md: Root'],
  });
  if (plan.root.readonly) stage.mount_setattr(root, { set: k.MOUNT_ATTR_RDONLY });
  if (plan.root.propagation) stage.mount('', '/', null, plan.root.propagation, null);

  const command = findCommand(stage, plan.process, identity);
  const { pipes } = descriptors;
  const process = { plan: plan.process, user: identity, command, terminal, init, pipes, preserved, gate };
  becomeProcess(stage, process, () => ready(terminal?.master));
}

/** A rung below the wall, for whoever wants to see what the wall is good for. */
function changeRoot(stage: Stage, root: StageFd): void {
  stage.step({ id: 'rootfs.chroot', why: '/ means another folder now; root finds its way out', see: ['chroot(2)'] });
  stage.fchdir(root);
  stage.chroot('.');
}

function pivotRoot(stage: Stage, root: StageFd): void {
  stage.step({
    id: 'rootfs.pivot',
    why: 'the new root and the old one change places on the same path, then the old one is unmounted with all that is below it',
    without: 'chroot alone could be left with a second chroot, and the host’s mounts would stay reachable',
    see: ['pivot_root(2): pivot_root(".", ".")', 'config-linux.md: rootfs'],
  });
  stage.fchdir(root);
  stage.pivot_root('.', '.');
  stage.umount2('.', k.MNT_DETACH);
  stage.chdir('/');
}
