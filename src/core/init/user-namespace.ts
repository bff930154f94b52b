/**
 * Into a user namespace, and a time namespace. What needs the host's privileges is done before, by a process that is the host's root in a mount
 * namespace of its own; then that enters the user namespace and makes a child in the other new ones, which belong to it therefore.
 * The child has the descriptors of everything that was prepared, and goes on.
 */
import * as k from '../kernel/constants.ts';
import { makedev } from '../kernel/structs.ts';
import type { DevicePlan, Plan } from '../plan/plan.ts';
import type { Stage, StageFd } from '../stage/stage.ts';
import { writeProc } from './proc.ts';
import { attach } from './rootfs.ts';

/** Returns the root filesystem and the plan's devices, as the container's process has them from here on. */
export function enterUserNamespace(
  stage: Stage,
  plan: Plan,
  root: StageFd,
  namespace: StageFd,
  forked: (hostPid: number) => void,
) {
  writeProc(stage, [], plan.process);
  stage.step({
    id: 'user-namespace.prepare',
    why: 'the host’s root makes device nodes, to be bound into the container, and raises hard limits, to be inherited',
    without: 'mknod and raising a limit are refused in a user namespace, also to its root',
    see: ['user_namespaces(7)', 'mknod(2)', 'getrlimit(2)'],
  });
  const tree = stage.clone(root, k.AT_RECURSIVE);
  const nodes = makeNodes(stage, plan.root.target, plan.devices);
  for (const { resource, hard } of plan.process.rlimits) stage.raise_hard_limit(resource, hard);
  stage.setgroups([]); // the host's; where setgroups is denied inside, they could never go

  stage.step({
    id: 'user-namespace',
    why: 'what is root from here on is root of this namespace only; what is made from here on belongs to it',
    without: 'root in the container is root outside',
    see: ['user_namespaces(7)', 'clone(2): CLONE_PARENT', 'config-linux.md: Namespaces'],
  });
  stage.setns(namespace, k.CLONE_NEWUSER);
  stage.setresgid(0); // before anything is made: files of nobody's would be EOVERFLOW
  stage.setresuid(0);
  forked(stage.fork(plan.namespaces.clone));
  stage.set_undumpable(); // as a change of user had it end; a child never has its parent's death signal
  stage.set_pdeathsig(k.SIGKILL);
  attach(stage, tree, '.'); // on the tmpfs: where it lies, the container's root may not be able to go by path
  return { root: tree, nodes };
}

/** Each a detached mount of a node in a tmpfs of the host's. */
function makeNodes(stage: Stage, target: string, devices: readonly DevicePlan[]): StageFd[] {
  const context = stage.fsopen('tmpfs');
  stage.fsconfig_create(context);
  const folder = stage.fsmount(context, 0);
  attach(stage, folder, target); // before Linux 6.15 only an attached mount can be copied
  const nodes = devices.map(({ mode, major, minor, uid, gid }, i) => {
    stage.mknodat(folder, `${i}`, mode, makedev(major, minor));
    stage.fchownat(folder, `${i}`, uid, gid);
    return stage.open_tree(folder, `${i}`, k.OPEN_TREE_CLONE);
  });
  stage.fchdir(folder);
  for (const fd of [context, folder]) stage.close(fd);
  return nodes;
}

/** Only children would be in a new one, but a process with one thread may enter what it made for them. */
export function enterTimeNamespace(stage: Stage, offsets: string): void {
  stage.step({
    id: 'namespaces.time',
    why: 'the offsets of its clocks can be written until the first process is in it, so that enters after the write',
    see: ['time_namespaces(7)', 'config-linux.md: Offset for Time Namespace'],
  });
  stage.unshare(k.CLONE_NEWTIME);
  const file = stage.openat2(k.AT_FDCWD, '/proc/self/timens_offsets', k.O_WRONLY, 0);
  if (offsets !== '') stage.write(file, offsets);
  const own = stage.openat2(k.AT_FDCWD, '/proc/self/ns/time_for_children', k.O_RDONLY, 0);
  stage.setns(own, k.CLONE_NEWTIME);
  for (const fd of [file, own]) stage.close(fd);
}
