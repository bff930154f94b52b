/** What an errno of a call usually means when a container is being built, where no fact read from the host proves more. Pure. Source: section 2 of the manual. */
import type { SyscallError } from '../core/kernel/error.ts';

const byCall: Record<string, Record<string, string>> = {
  mount: {
    EBUSY: 'the upper or work folder of the overlay is in use by another mount',
    EINVAL: 'an option that this filesystem does not know, or a propagation change of what is no mount point',
    ENODEV: 'the kernel has no such filesystem: see /proc/filesystems, modprobe',
    ENOENT: 'a part of the path is missing: the source, the target, or a folder of the overlay',
    ENOTDIR: 'a directory on a file, or a file on a directory',
    EPERM:
      'CAP_SYS_ADMIN is missing in the user namespace that owns this mount namespace, or a security module refuses',
  },
  fsconfig: {
    EINVAL: 'an option or a value that this filesystem does not know',
    EPERM: 'the user namespace may not mount this filesystem',
    ENOENT: 'a folder that the option names is missing',
  },
  fsopen: { ENODEV: 'the kernel has no such filesystem: see /proc/filesystems, modprobe' },
  fsmount: { EPERM: 'something is mounted over parts of the host’s /proc or /sys, and a new one would show them' },
  move_mount: {
    ENOTDIR: 'a directory on a file, or a file on a directory',
    EINVAL: 'the target is in another mount namespace, or the source is shared',
    ELOOP: 'a mount would be moved below itself',
  },
  open_tree: {
    ENOENT: 'the source of a bind mount is not there on the host',
    ENOTDIR: 'a part of the source’s path is a file',
    EACCES: 'a folder on the way to the source may not be searched',
    EINVAL: 'a mount below the source is unbindable, or locked by another mount namespace',
  },
  openat2: {
    ENOENT: 'a part of the path is missing in the container',
    ELOOP: 'a symbolic link where none is followed: an image may not lead a mount elsewhere',
    EXDEV: 'the path leads out of the container',
    ENOTDIR: 'a part of the path is a file',
    EACCES: 'the user may not search a folder on the way',
  },
  mkdirat: {
    EROFS: 'the root filesystem is read-only, and the mount point is not in the image',
    ENOSPC: 'the disk below the writable layer is full',
    EDQUOT: 'a quota of the disk below the writable layer is used up',
  },
  mknodat: { EPERM: 'nodes need CAP_MKNOD of the host: in a user namespace they are bind mounts', EROFS: 'read-only' },
  mount_setattr: {
    EPERM: 'the flag is locked: the mount comes from a namespace with less rights',
    EINVAL: 'the filesystem can’t be id-mapped',
  },
  setns: {
    EPERM: 'the user namespace that owns it gives no CAP_SYS_ADMIN',
    EINVAL: 'not the type of namespace that was asked for',
  },
  unshare: { EPERM: 'CAP_SYS_ADMIN is missing', ENOSPC: 'a limit of /proc/sys/user/max_*_namespaces is reached' },
  clone3: {
    EPERM: 'CAP_SYS_ADMIN is missing, or user namespaces are switched off',
    ENOSPC: 'a limit of /proc/sys/user/max_*_namespaces is reached',
    EAGAIN: 'pids.max of the cgroup, or RLIMIT_NPROC, is reached',
    EBUSY: 'the cgroup has handed controllers on, and takes no processes',
  },
  write: {
    EINVAL: 'the kernel takes the file but not this value',
    EPERM: 'the file is there, and this namespace may not write it',
    EACCES: 'the file is read-only here',
  },
  setresuid: {
    EINVAL: 'the user is not mapped in this user namespace',
    EAGAIN: 'RLIMIT_NPROC of that user is reached',
  },
  setresgid: { EINVAL: 'the group is not mapped in this user namespace' },
  setgroups: { EPERM: '/proc/self/setgroups says deny', EINVAL: 'a group is not mapped in this user namespace' },
  chdir: { ENOENT: 'the working directory is not in the image', EACCES: 'the user may not search it' },
  sched_setaffinity: { EINVAL: 'none of these processors is there, or in the cgroup’s cpuset' },
  sched_setattr: { EPERM: 'CAP_SYS_NICE is missing', EBUSY: 'no time is left for this deadline' },
  seccomp: {
    EINVAL: 'the kernel does not know a flag or an instruction of the filter',
    EACCES: 'neither no_new_privs nor CAP_SYS_ADMIN',
  },
  prlimit64: { EPERM: 'raising a hard limit takes CAP_SYS_RESOURCE of the host' },
};

export function likelyCause({ facts, code }: SyscallError): string | undefined {
  return byCall[facts.syscall]?.[code];
}
