/** System call numbers. Source: the kernel's asm/unistd.h; held against the C headers by a unit test. */

export type SyscallName = keyof typeof numbers;

/** On x86-64, on arm64. */
const numbers = {
  // namespaces and mounts
  ...{ unshare: [272, 97], setns: [308, 268], clone3: [435, 435], sethostname: [170, 161] },
  ...{ setdomainname: [171, 162], mount: [165, 40], umount2: [166, 39], pivot_root: [155, 41], chroot: [161, 51] },
  ...{ fsopen: [430, 430], fsconfig: [431, 431], fsmount: [432, 432], open_tree: [428, 428] },
  ...{ move_mount: [429, 429], mount_setattr: [442, 442] },
  // files
  ...{ openat: [257, 56], openat2: [437, 437], close: [3, 57], close_range: [436, 436], chdir: [80, 49] },
  ...{ fchdir: [81, 50], getcwd: [79, 17], dup3: [292, 24], fcntl: [72, 25], fstatfs: [138, 44] },
  ...{ statx: [332, 291], lseek: [8, 62], read: [0, 63], write: [1, 64], ftruncate: [77, 46], flock: [73, 32] },
  ...{ ioctl: [16, 29], pipe2: [293, 59], memfd_create: [319, 279], mkdirat: [258, 34], mknodat: [259, 33] },
  ...{ symlinkat: [266, 36], linkat: [265, 37], readlinkat: [267, 78], renameat2: [316, 276] },
  ...{ unlinkat: [263, 35], fchmodat: [268, 53], fchownat: [260, 54], utimensat: [280, 88] },
  ...{ getdents64: [217, 61], umask: [95, 166], lgetxattr: [192, 9], llistxattr: [195, 12], fgetxattr: [193, 10] },
  ...{ fsetxattr: [190, 7], setxattr: [188, 5], lsetxattr: [189, 6] },
  // sockets
  ...{ socket: [41, 198], socketpair: [53, 199], bind: [49, 200], connect: [42, 203], sendmsg: [46, 211] },
  ...{ recvmsg: [47, 212], getsockopt: [55, 209] },
  // processes
  ...{ execve: [59, 221], execveat: [322, 281], exit_group: [231, 94], getpid: [39, 172], kill: [62, 129] },
  ...{ wait4: [61, 260], waitid: [247, 95], pidfd_open: [434, 434], pidfd_send_signal: [424, 424] },
  ...{ pidfd_getfd: [438, 438] },
  ...{ ppoll: [271, 73], prctl: [157, 167], prlimit64: [302, 261], setsid: [112, 157] },
  // who they are and what they may
  ...{ setresuid: [117, 147], setresgid: [119, 149], setgroups: [116, 159], capset: [126, 91] },
  ...{ seccomp: [317, 277], bpf: [321, 280], keyctl: [250, 219], personality: [135, 92] },
  // time of processors
  ...{ sched_setaffinity: [203, 122], sched_getaffinity: [204, 123], sched_setattr: [314, 274] },
  ...{ ioprio_set: [251, 30], set_mempolicy: [238, 237] },
};

/** The number of each call on one architecture, as Node names it (process.arch). Throws for one that tinyctr does not run on. */
export function syscallNumbers(arch: string): (name: SyscallName) => number {
  const column = ['x64', 'arm64'].indexOf(arch);
  if (column < 0) throw new Error(`tinyctr runs on x86-64 and arm64; this machine is ${arch}`);
  return (name) => numbers[name][column]!;
}

export function syscallNames(): SyscallName[] {
  return Object.keys(numbers) as SyscallName[];
}
