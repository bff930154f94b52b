/** The mounts of the spec, in its order: each made detached, then moved onto a descriptor found inside the root. */
import * as k from '../kernel/constants.ts';
import { ContainerError, SyscallError } from '../kernel/error.ts';
import type { BindPlan, FilesystemPlan, MountPlan } from '../plan/plan.ts';
import type { Stage, StageFd } from '../stage/stage.ts';
import { ensureTarget, resolveInRoot, resolveWithoutLinks } from './resolve.ts';

interface OpenBind {
  tree: StageFd;
  /** S_IFDIR and so on. */
  type: number;
}

/** Detached copies of the bind sources, by plan. A source that is not there is an error: none is ever created (E4). */
export function openBinds(stage: Stage, mounts: readonly MountPlan[]): Map<MountPlan, OpenBind> {
  const binds = new Map<MountPlan, OpenBind>();
  for (const mount of mounts) {
    if (mount.kind !== 'bind') continue;
    const tree = openBind(stage, mount);
    binds.set(mount, { tree, type: stage.statx(tree, '')!.mode & k.S_IFMT });
  }
  return binds;
}

function openBind(stage: Stage, bind: BindPlan): StageFd {
  try {
    const tree = stage.open_tree(k.AT_FDCWD, bind.source, k.OPEN_TREE_CLONE | (bind.recursive ? k.AT_RECURSIVE : 0));
    if (bind.set || bind.clear)
      stage.mount_setattr(tree, { set: bind.set, clear: bind.clear, recursive: bind.attributesRecursive });
    const propagation = bind.propagation || k.MS_PRIVATE;
    stage.mount_setattr(tree, { propagation, recursive: bind.propagationRecursive || !bind.propagation });
    stage.flush();
    return tree;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const reason = error.code === 'ENOENT' ? 'it does not exist' : error.facts.call;
    throw new ContainerError(`can't bind ${bind.source} on ${bind.target}: ${reason}`, {
      specPointer: bind.specPointer,
      hint:
        error.code === 'ENOENT'
          ? `tinyctr never creates the source; make it first: mkdir -p ${bind.source}`
          : undefined,
      cause: error,
    });
  }
}

export function attachMount(
  stage: Stage,
  root: StageFd,
  mount: MountPlan,
  binds: ReadonlyMap<MountPlan, OpenBind>,
): void {
  stage.step({
    id: `mount ${mount.target}`,
    why:
      mount.kind === 'bind'
        ? `the host’s ${mount.source} appears as ${mount.target}`
        : (reasons[mount.fstype] ?? `a new ${mount.fstype}`),
    see: ['move_mount(2)', 'config.md: Mounts'],
  });
  if (mount.kind === 'bind') attachBind(stage, root, mount, binds.get(mount)!);
  else mountFilesystem(stage, root, mount);
}

const reasons: Record<string, string> = {
  proc: 'a procfs of the new pid namespace: the host’s would show the host’s processes',
  sysfs: 'the view of the new network namespace on devices, read-only unless privileged',
  cgroup2: 'the container sees its own cgroup, and only it, as the root of the tree',
  devpts: 'terminals of its own: numbers start at 0 and the host’s are not there',
  mqueue: 'the message queues of the new ipc namespace',
  tmpfs: 'files in memory, gone with the container',
};

function mountFilesystem(stage: Stage, root: StageFd, mount: FilesystemPlan): void {
  const linkless = mount.fstype === 'proc' || mount.fstype === 'sysfs';
  const target = ensureTarget(stage, root, mount.target, 'directory', linkless ? resolveWithoutLinks : resolveInRoot);
  const context = stage.fsopen(mount.fstype);
  stage.fsconfig_set_string(context, 'source', mount.source);
  for (const [key, value] of mount.parameters) {
    if (value === null) stage.fsconfig_set_flag(context, key);
    else stage.fsconfig_set_string(context, key, value);
  }
  stage.fsconfig_create(context);
  const detached = stage.fsmount(context, mount.attributes);
  if (mount.propagation) stage.mount_setattr(detached, { propagation: mount.propagation });
  stage.move_mount(detached, target);
  for (const fd of [target, context, detached]) stage.close(fd);
}

function attachBind(stage: Stage, root: StageFd, bind: BindPlan, { tree, type }: OpenBind): void {
  const directory = type === k.S_IFDIR;
  const target = ensureTarget(stage, root, bind.target, directory ? 'directory' : 'file');
  const there = stage.statx(target, '')!.mode & k.S_IFMT;
  if ((there === k.S_IFDIR) !== directory) {
    const [source, destination] = directory ? ['a directory', 'a file'] : ['a file', 'a directory'];
    throw new ContainerError(
      `can't bind ${bind.source} on ${bind.target}: the source is ${source}, in the container there is ${destination}`,
      {
        specPointer: bind.specPointer,
      },
    );
  }
  stage.move_mount(tree, target);
  stage.close(target);
  stage.close(tree);
}
