/** The mounts of the spec, in its order: each made detached, then moved onto a descriptor found inside the root. */
import * as k from '../kernel/constants.ts';
import { ContainerError, type SyscallError } from '../kernel/error.ts';
import type { FileStatus } from '../kernel/structs.ts';
import type { BindPlan, FilesystemPlan, MountPlan, RemountPlan } from '../plan/plan.ts';
import type { HostFd, Stage, StageFd, Step } from '../stage/stage.ts';
import { ensureTarget, IN_ROOT, NO_LINKS } from './resolve.ts';

interface OpenBind {
  tree: StageFd;
  directory: boolean;
}

/** Detached copies of the bind sources, by plan. A source that is not there is an error: none is ever created (E4). */
export function openBinds(
  stage: Stage,
  mounts: readonly MountPlan[],
  idMaps: readonly StageFd[],
): Map<MountPlan, OpenBind> {
  const binds = mounts.filter((mount) => mount.kind === 'bind');
  const trees = binds.map((bind) => {
    stage.step({
      id: `bind ${bind.target}`,
      why: 'what comes from the host is opened first, while the mounts are still the host’s and no container file could redirect a path',
      see: ['open_tree(2)', 'mount_namespaces(7)'],
      explain: (error) => sourceError(bind, error),
    });
    return openBind(stage, bind, idMaps);
  });
  const statuses = stage.statx_all(trees);
  return new Map(binds.map((bind, i) => [bind, { tree: trees[i]!, directory: isDirectory(statuses[i]) }]));
}

const isDirectory = (status: FileStatus | undefined): boolean => ((status?.mode ?? 0) & k.S_IFMT) === k.S_IFDIR;

function openBind(stage: Stage, bind: BindPlan, idMaps: readonly StageFd[]): StageFd {
  const flags = k.OPEN_TREE_CLONE | (bind.recursive ? k.AT_RECURSIVE : 0);
  const [given] = stage.receive_fds(bind.detached === undefined ? [] : [bind.detached as HostFd]);
  const tree = given ?? stage.open_tree(k.AT_FDCWD, bind.source, flags);
  if (bind.set || bind.clear)
    stage.mount_setattr(tree, { set: bind.set, clear: bind.clear, recursive: bind.attributesRecursive });
  if (bind.idMap !== undefined)
    stage.mount_setattr(tree, { idMap: idMaps[bind.idMap]!, recursive: bind.idMapRecursive === true });
  const recursive = bind.propagationRecursive || !bind.propagation;
  stage.mount_setattr(tree, { propagation: bind.propagation || k.MS_PRIVATE, recursive });
  return tree;
}

function sourceError(bind: BindPlan, error: SyscallError): ContainerError {
  const missing = error.facts.syscall === 'open_tree' && error.code === 'ENOENT';
  return new ContainerError(
    `can't bind ${bind.source} on ${bind.target}: ${missing ? 'it does not exist' : error.code}`,
    {
      specPointer: bind.specPointer,
      hint: missing ? `tinyctr never creates the source; make it first: mkdir -p ${bind.source}` : undefined,
      cause: error,
    },
  );
}

const reasons: Record<string, string> = {
  proc: 'a procfs of the new pid namespace: the host’s would show the host’s processes',
  sysfs: 'the view of the new network namespace on devices, read-only unless privileged',
  cgroup2: 'the container sees its own cgroup, and only it, as the root of the tree',
  devpts: 'terminals of its own: numbers start at 0 and the host’s are not there',
  mqueue: 'the message queues of the new ipc namespace',
  tmpfs: 'files in memory, gone with the container',
};

export function attachMount(
  stage: Stage,
  root: StageFd,
  mount: MountPlan,
  binds: ReadonlyMap<MountPlan, OpenBind>,
): void {
  const step: Step = {
    id: `mount ${mount.target}`,
    why:
      mount.kind === 'bind'
        ? `the host’s ${mount.source} appears as ${mount.target}`
        : mount.kind === 'remount'
          ? `other flags for the mount on ${mount.target}`
          : (reasons[mount.fstype] ?? `a new ${mount.fstype}`),
    see: ['move_mount(2)', 'config.md: Mounts'],
  };
  if (mount.kind === 'bind') attachBind(stage, step, root, mount, binds.get(mount)!);
  else if (mount.kind === 'remount') remount(stage, step, root, mount);
  else mountFilesystem(stage, step, root, mount);
}

/** Of this one mount of the container's: not of the file system, which the host may have mounted too. What is not named stays. */
function remount(stage: Stage, step: Step, root: StageFd, mount: RemountPlan): void {
  const { set, clear, propagation } = mount;
  stage.step(step);
  const target = stage.openat2(root, mount.target, k.O_PATH, IN_ROOT);
  stage.mount_setattr(target, { set, clear, recursive: mount.attributesRecursive });
  if (propagation) stage.mount_setattr(target, { propagation, recursive: mount.propagationRecursive });
  stage.close(target);
}

function mountFilesystem(stage: Stage, step: Step, root: StageFd, mount: FilesystemPlan): void {
  stage.step({ ...step, explain: (error) => targetError(mount, error) });
  const linkless = mount.fstype === 'proc' || mount.fstype === 'sysfs';
  const target = ensureTarget(stage, root, mount.target, 'directory', linkless ? NO_LINKS : IN_ROOT);
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

function attachBind(stage: Stage, step: Step, root: StageFd, bind: BindPlan, { tree, directory }: OpenBind): void {
  let target: StageFd | undefined;
  stage.step({
    ...step,
    explain: (error) => typeError(stage, bind, directory, target, error) ?? targetError(bind, error),
  });
  target = ensureTarget(stage, root, bind.target, directory ? 'directory' : 'file');
  // The plan has refused what says /proc; a link of the image may lead there all the same (CVE-2019-16884).
  if (directory && stage.fstatfs_type(target) === k.PROC_SUPER_MAGIC)
    throw new ContainerError(`${bind.target} in the container is a link into /proc: a mount there is refused`, {
      specPointer: bind.specPointer,
    });
  stage.move_mount(tree, target);
  stage.close(target);
  stage.close(tree);
}

/** A file can't be mounted on a directory, nor the other way round (E4). */
function typeError(stage: Stage, bind: BindPlan, directory: boolean, target: StageFd | undefined, error: SyscallError) {
  if (error.facts.syscall !== 'move_mount' || !target || isDirectory(stage.fstat(target)) === directory)
    return undefined;
  const [source, destination] = directory ? ['a directory', 'a file'] : ['a file', 'a directory'];
  return new ContainerError(
    `can't bind ${bind.source} on ${bind.target}: the source is ${source}, in the container there is ${destination}`,
    { specPointer: bind.specPointer, cause: error },
  );
}

const onTheWay = ['mkdirat', 'mknodat', 'openat2'];

function targetError(mount: MountPlan, error: SyscallError): ContainerError {
  const { syscall } = error.facts;
  const at = { specPointer: mount.specPointer, cause: error };
  if (!onTheWay.includes(syscall))
    return new ContainerError(`can't mount ${mount.target}: ${syscall} fails with ${error.code}`, at);
  if (error.code === 'ELOOP')
    return new ContainerError(
      `${mount.target} must be mounted on ordinary directory: in the container it is, or leads through, a symbolic link`,
      at,
    );
  const reasons: Record<string, string> = {
    ENOENT: 'a link on the way leads nowhere',
    EACCES: 'the container’s root may not write there',
    ENOTDIR: 'a file is in the way',
    EROFS: 'the file system it would lie in is read-only',
  };
  return new ContainerError(`the mount point ${mount.target} can't be made: ${reasons[error.code] ?? error.code}`, at);
}
