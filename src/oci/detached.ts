/** Filesystems that are made by tinyctr-oci itself, mounted nowhere, and go to the container as descriptors. Host side. */
import { closeSync, openSync } from 'node:fs';
import { syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import type { BindPlan, FilesystemPlan } from '../core/plan/plan.ts';
import type { HostFd } from '../core/stage/stage.ts';

/** Source: fsopen(2), fsconfig(2), fsmount(2). Its flags come later: what is read-only could not be filled. */
export function makeFilesystem({ fstype, source, parameters, target, specPointer }: FilesystemPlan): HostFd {
  const context = syscall('fsopen', [fstype, k.FSOPEN_CLOEXEC]) as HostFd;
  try {
    for (const [key, value] of [['source', source] as const, ...parameters])
      syscall('fsconfig', [context, value === null ? k.FSCONFIG_SET_FLAG : k.FSCONFIG_SET_STRING, key, value, 0]);
    syscall('fsconfig', [context, k.FSCONFIG_CMD_CREATE, null, null, 0]);
    return syscall('fsmount', [context, k.FSMOUNT_CLOEXEC, 0]) as HostFd;
  } catch (error) {
    throw new ContainerError(`can't make a ${fstype} for ${target}: ${(error as Error).message}`, {
      specPointer,
      cause: error,
    });
  } finally {
    closeSync(context);
  }
}

/** How the container takes it. */
export function asBind({ target, attributes: set, propagation, specPointer }: FilesystemPlan, tree: HostFd): BindPlan {
  const flags = { set, clear: 0, attributesRecursive: false, propagation, propagationRecursive: false };
  return { kind: 'bind', target, source: 'a new filesystem', detached: tree, recursive: false, ...flags, specPointer };
}

const folders = ['lowerdir', 'upperdir', 'workdir'];

/** An overlay of folders that fsconfig(2), with at most 255 bytes a value, would not take; mount(2) takes a page of all. */
export function isLong({ fstype, parameters }: FilesystemPlan): boolean {
  return fstype === 'overlay' && parameters.some(([key, value]) => folders.includes(key) && (value?.length ?? 0) > 200);
}

/** Its folders by short names: those of descriptors. */
export function mountLong(mount: FilesystemPlan, filled: HostFd[]): BindPlan {
  const opened: number[] = [];
  const short = (path: string) => {
    opened.push(openSync(path.replaceAll('\\:', ':'), k.O_PATH));
    return `/proc/self/fd/${opened.at(-1)}`;
  };
  try {
    const parameters = mount.parameters.map(([key, value]) => {
      const inFolders = value !== null && folders.includes(key);
      return [
        key,
        inFolders
          ? value
              .split(/(?<!\\):/)
              .map(short)
              .join(':')
          : value,
      ] as const;
    });
    const tree = makeFilesystem({ ...mount, parameters });
    filled.push(tree);
    return asBind(mount, tree);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}
