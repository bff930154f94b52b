/** Two traces of strace, gathered by what calls are for and put side by side. */
import { expect, test } from 'vitest';
import { type Act, actsOf, align, parseStrace } from '../../../src/workshop/compare/syscalls.ts';

const ours = `
41    execve("/bin/tinyctr-oci", ["tinyctr-oci", "create"], 0x7ffe /* 35 vars */) = 0
41    clone(child_stack=0x1, flags=CLONE_VM|CLONE_THREAD) = 42
41    clone3({flags=CLONE_VFORK|CLONE_NEWNS|CLONE_NEWPID, exit_signal=SIGCHLD}, 88 <unfinished ...>
49    prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0
41    <... clone3 resumed>) = 49
49    fsopen("proc", FSOPEN_CLOEXEC)    = 7<anon_inode:[fscontext]>
49    fsconfig(7<anon_inode:[fscontext]>, FSCONFIG_CMD_CREATE, NULL, NULL, 0) = 0
49    fsmount(7<anon_inode:[fscontext]>, FSMOUNT_CLOEXEC, 0) = 9</>
49    move_mount(9</>, "", 8</b/rootfs/proc>, "", MOVE_MOUNT_F_EMPTY_PATH) = 0
49    mknodat(8</b/rootfs/dev>, "null", S_IFCHR|0666, makedev(0x1, 0x3)) = 0
49    open_tree(7</b/rootfs/dev/null>, "", OPEN_TREE_CLONE) = 12</>
49    move_mount(12</>, "", 9</b/rootfs/proc/keys>, "", MOVE_MOUNT_F_EMPTY_PATH) = 0
49    pivot_root(".", ".")              = 0
49    prctl(PR_CAPBSET_DROP, CAP_CHOWN) = 0
49    prctl(PR_CAPBSET_DROP, CAP_FOWNER) = 0
49    execve("/.tinyctr-compare/probe", ["/.tinyctr-compare/probe"], 0x413d60 /* 3 vars */) = 0
49    mount(0xffffffffffffffff, 0xffffffffffffffff, 0xffffffffffffffff, 0, NULL) = 0
`;
const theirs = `
9     chdir("b")                        = -1 ENOENT (No such file or directory)
22    unshare(CLONE_NEWNS|CLONE_NEWPID) = 0
23    keyctl(KEYCTL_JOIN_SESSION_KEYRING, "_ses.x") = 992138030
23    mount("proc", "/proc/self/fd/6", "proc", 0, NULL) = 0
23    mknodat(AT_FDCWD</b/rootfs>, "/b/rootfs/dev/null", S_IFCHR|0666, makedev(0x1, 0x3)) = 0
23    pivot_root(".", ".")              = 0
23    mount("/dev/null", "/proc/keys", 0xc0000b8dfa, MS_BIND, NULL) = 0
23    mount("", "/proc/keys", 0xc0000b8dfa, MS_RDONLY|MS_REMOUNT|MS_BIND, NULL) = 0
23    prctl(PR_CAPBSET_DROP, CAP_CHOWN) = 0
23    execve("/.tinyctr-compare/probe", ["/.tinyctr-compare/probe"], 0xc000 /* 3 vars */) = 0
`;
const acts = (text: string) => actsOf(parseStrace(text), '/b/rootfs');
const shape = (list: readonly Act[]) => list.map(({ key, calls }) => [key, ...calls.map(({ name }) => name)]);

test('calls up to the program, failed ones and threads left out, an interrupted one put together', () => {
  const calls = parseStrace(ours);
  expect(calls.at(-1)!.name).toBe('execve');
  expect(calls.find(({ name }) => name === 'clone3')).toEqual({
    name: 'clone3',
    args: '{flags=CLONE_VFORK|CLONE_NEWNS|CLONE_NEWPID, exit_signal=SIGCHLD}, 88',
    result: '49',
  });
});

test('what goes together is one act', () => {
  expect(shape(acts(ours))).toEqual([
    ['new namespaces', 'clone3'],
    ['file system proc', 'fsopen', 'fsconfig', 'fsmount', 'move_mount'],
    ['device node null', 'mknodat'],
    ['bind mount at /proc/keys', 'open_tree', 'move_mount'],
    ['pivot_root', 'pivot_root'],
    ['bounding set of capabilities', 'prctl', 'prctl'],
    ['the program', 'execve'],
  ]);
});

test('side by side: the same, at another place, one alone', () => {
  expect(align(acts(ours), acts(theirs)).map(({ place, key }) => `${place} ${key}`)).toEqual([
    'same new namespaces',
    'theirs session keyring',
    'same file system proc',
    'same device node null',
    'elsewhere bind mount at /proc/keys',
    'same pivot_root',
    'elsewhere bind mount at /proc/keys',
    'same bounding set of capabilities',
    'same the program',
  ]);
});
