/**
 * The stage, as src/core/init sees it: one method per system call, carried out inside the container that is being built.
 * Host side; the other end is native-shim/stage.c.
 *
 * A call whose result nobody needs at once travels with the next one that does, unless somebody watches; a failure
 * still names its own call, step and line. Each method throws SyscallError for an errno that it does not tolerate.
 * Descriptors that a method returns belong to the stage: it closes them with `close`, or its last close_range does.
 */
import * as k from '../kernel/constants.ts';
import { E, type ErrnoName } from '../kernel/errno.ts';
import { SyscallError } from '../kernel/error.ts';
import * as structs from '../kernel/structs.ts';
import { type SyscallName, syscallNumbers } from '../kernel/syscalls.ts';
import { formatCall } from './format.ts';
import {
  type Arg,
  dataView,
  decodeReply,
  encodeFrame,
  MAX_CALLS,
  PHASE_NONE,
  PHASE_STARTED,
  STAGE_SOCKET_FD,
  type StagePage,
} from './protocol.ts';

/** A descriptor of the stage's, not of the host's. Its number is known once its frame has come back; until then it can be used all the same. */
export class StageFd {
  /** -errno where the errno was tolerated. */
  number: number | undefined;
  constructor(number?: number) {
    this.number = number;
  }
}
/** A descriptor of this process, on the host's side. */
export type HostFd = number & { readonly __hostFd: true };

/** Why a group of calls is there: what explain, trace and step show. */
export interface Step {
  /** A short name, unique within its sequence: `rootfs.pivot`. */
  id: string;
  why: string;
  /** What would be missing, or open, without it. */
  without?: string;
  /** Man pages, OCI clauses, CVEs. */
  see?: readonly string[];
  /** What a failure of one of its calls means, if that can be said better; may ask the stage, which still answers. */
  explain?: (error: SyscallError) => Error | undefined;
}

/** `received`: descriptors that the stage sent before its reply. */
export type Answer = { reply: Buffer; received: HostFd[] };

/** The way to the stage and back; src/core/host/wire.ts is the real one. */
export interface Wire {
  /** Sends a frame and waits for its reply; undefined when the stage is gone. `arrived` is told at once of a descriptor that comes before it. */
  exchange(frame: Buffer, descriptors: readonly HostFd[], arrived?: (fd: HostFd) => void): Answer | undefined;
  /** What the stage was doing when it could last say so. */
  page(): StagePage;
  /** Leads to a child of the stage's from now on: `fork` is given the child's end of a new way, and returns its pid, as this does. */
  branch(fork: (end: HostFd) => number): number;
  /** Sends a frame whose reply nobody will wait for. */
  send(frame: Buffer, descriptors: readonly HostFd[]): void;
}

/** Undefined where it is not known: of a created container's last frame, of a stage that is gone. */
type Result = number | undefined;

/** Somebody who watches: told of every call after it returned. While watched, every call travels alone. */
export type Observer = ((event: {
  step: Step;
  name: SyscallName;
  args: readonly Arg[];
  result: Result;
  /** Of the whole frame that it travelled with. */
  durationMs: number;
}) => void) & {
  /** Told of whole frames in place of calls, which then travel together as if nobody watched. */
  frame?: (number: number, calls: readonly QueuedCall[], results: readonly Result[], durationMs: number) => void;
  /** Told of a call before it is made. It may take its time, and ends the construction by throwing. While there is one, the last frame begins with the filter. */
  before?: (event: { step: Step; name: SyscallName; args: readonly Arg[]; held: boolean }) => void;
};

/** The frame that ends in execve: its number in the shared page's count, and its calls as strace would print them. */
export interface LastFrame {
  frame: number;
  calls: readonly string[];
  /** The stage's number of the socket at which the listener of its seccomp filter will arrive: to be fetched before the gate opens. */
  listener?: number | undefined;
}

/** Milliseconds since some moment. The global `performance` would load 4 ms of Node's library. */
export function nowMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

type StageArg = Arg | StageFd;

interface QueuedCall {
  name: SyscallName;
  args: readonly StageArg[];
  /** Gets the result as its number. */
  fd: StageFd | undefined;
  tolerated: readonly ErrnoName[];
  step: Step;
  serveFd?: number;
}

interface Outcome {
  result: number;
  out: Buffer;
}

/** The stage ended before it answered: its last call, if it could note one. */
export class StageGone extends Error {
  readonly page: StagePage;
  constructor(page: StagePage, call: string | undefined) {
    super(call ? `the stage ended during ${call}` : 'the stage ended before its first call');
    this.name = 'StageGone';
    this.page = page;
  }
}

/** A descriptor that never came about is shown as -1. */
const plainArg = (arg: StageArg): Arg => (arg instanceof StageFd ? (arg.number ?? -1) : arg);

const numberOf = syscallNumbers(process.arch);
const nothing = Buffer.alloc(0);
/** So many answers of 256 bytes fit into a reply. */
const AT_ONCE = 128;
/** Above all that a container is given. */
const FIRST_FREE_FD = 64;
const noStep: Step = { id: 'none', why: '' };

export class Stage {
  /** Descriptors that the stage sent by send_fd, in order. */
  readonly received: HostFd[] = [];
  observer: Observer | undefined;
  /** Is given the listener of the last frame's seccomp filter while that frame is under way; the program may wait for an answer already. */
  listener: ((fd: HostFd) => void) | undefined;
  /** Set once the last frame is on its way unattended. */
  last: LastFrame | undefined;
  private frames = 0;
  private readonly wire: Wire;
  private queue: QueuedCall[] = [];
  private socket = new StageFd(STAGE_SOCKET_FD);
  private current: Step = noStep;
  private held = false;
  private attended = true;
  private outbox: StageFd | undefined;

  constructor(wire: Wire) {
    this.wire = wire;
  }

  /** The calls from here on belong to this step. */
  step(step: Step): void {
    this.current = step;
  }

  get currentStep(): Step {
    return this.current;
  }

  /**
   * From here on everything waits for execve: after a seccomp filter is on, the stage may not be able to answer.
   * Unattended, execve only sends the frame; what becomes of it, the shared page tells whoever looks later, and what
   * it sends is found at `outbox`, a socket of the stage's.
   */
  hold(attended = true, outbox?: StageFd): void {
    this.flush();
    this.held = !attended || !this.alone || this.observer?.before === undefined;
    this.attended = attended;
    this.outbox = outbox;
  }

  // --- the queue

  private get alone(): boolean {
    return this.observer !== undefined && !this.observer.frame;
  }

  private post(name: SyscallName, args: readonly StageArg[], tolerated: readonly ErrnoName[] = [], fd?: StageFd): void {
    this.announce(name, args);
    this.queue.push({ name, args, tolerated, fd, step: this.current });
    if (!this.held && (this.alone || this.queue.length >= MAX_CALLS)) this.outcomes = this.flush();
  }

  private announce(name: SyscallName, args: readonly StageArg[]): void {
    this.observer?.before?.({ step: this.current, name, args: args.map(plainArg), held: this.held });
  }

  /** A call that makes a descriptor. */
  private open(name: SyscallName, args: readonly StageArg[], tolerated: readonly ErrnoName[] = []): StageFd {
    const fd = new StageFd();
    this.post(name, args, tolerated, fd);
    return fd;
  }

  /** A call whose result is needed now. */
  private call(name: SyscallName, args: readonly StageArg[], tolerated: readonly ErrnoName[] = []): Outcome {
    if (this.held) throw new Error(`${name} needs an answer, but the last frame is being held`);
    this.post(name, args, tolerated);
    return (this.alone ? this.outcomes : this.flush()).at(-1)!;
  }

  /** The same call for many arguments, in one frame if nobody watches. */
  private callAll(
    name: SyscallName,
    all: readonly (readonly StageArg[])[],
    tolerated: readonly ErrnoName[],
  ): Outcome[] {
    const outcomes: Outcome[] = [];
    for (let start = 0; start < all.length; start += AT_ONCE) {
      const some = all.slice(start, start + AT_ONCE);
      if (this.queue.length + some.length >= MAX_CALLS) this.flush(); // so that all answers come with one frame
      if (this.alone) for (const args of some) outcomes.push(this.call(name, args, tolerated));
      else {
        for (const args of some) this.post(name, args, tolerated);
        outcomes.push(...this.flush().slice(-some.length));
      }
    }
    return outcomes;
  }

  /** False if the call that should have made it failed with a tolerated errno. */
  exists(fd: StageFd): boolean {
    if (fd.number === undefined) this.flush();
    return fd.number! >= 0;
  }

  private outcomes: Outcome[] = [];

  /** Sends what waits; returns the outcomes, call by call. Throws for the first call that failed. */
  flush(): Outcome[] {
    if (this.queue.length === 0) return [];
    const calls = this.queue;
    this.queue = [];
    const started = this.observer ? nowMs() : 0;
    const { outs, reply } = this.exchange(calls, []);
    if (!reply) {
      this.report(calls, Array(this.wire.page().call + 1).fill(undefined), started);
      throw new StageGone(this.wire.page(), this.pageCall(calls));
    }
    this.report(calls, reply.results, started);
    if (reply.failed) throw this.failure(calls[reply.results.length - 1]!, reply.results.at(-1)!);
    const outcomes: Outcome[] = reply.results.map((result) => ({ result, out: nothing }));
    for (const { call, at, length } of outs) outcomes[call]!.out = reply.out.subarray(at, at + length);
    return outcomes;
  }

  private encode(calls: readonly QueuedCall[], descriptors: number) {
    this.frames++;
    const makers = new Map<StageFd, number>();
    for (const [index, { fd }] of calls.entries()) if (fd) makers.set(fd, index);
    const wireArg = (arg: StageArg): Arg =>
      arg instanceof StageFd ? (arg.number ?? { resultOf: makers.get(arg)! }) : arg;
    return encodeFrame(
      calls.map((call) => ({
        nr: numberOf(call.name),
        args: call.args.map(wireArg),
        tolerated: call.tolerated.map((code) => E[code]),
        ...(call.serveFd === undefined ? {} : { serveFd: call.serveFd }),
      })),
      descriptors,
    );
  }

  private exchange(calls: readonly QueuedCall[], descriptors: readonly HostFd[], arrived?: (fd: HostFd) => void) {
    const frame = this.encode(calls, descriptors.length);
    const answer = this.wire.exchange(frame.bytes, descriptors, arrived);
    if (!answer) return { outs: frame.outs, reply: undefined };
    this.received.push(...answer.received);
    const reply = decodeReply(answer.reply);
    for (const [index, result] of reply.results.entries()) {
      const { fd } = calls[index]!;
      if (fd) fd.number = result;
    }
    return { outs: frame.outs, reply };
  }

  private report(calls: readonly QueuedCall[], results: readonly Result[], started: number): void {
    if (!this.observer) return;
    const durationMs = nowMs() - started;
    this.observer.frame?.(this.frames, calls, results, durationMs);
    for (let i = 0; i < results.length && !this.observer.frame; i++) {
      const { step, name, args } = calls[i]!;
      this.observer({ step, name, args: args.map(plainArg), result: results[i], durationMs });
    }
  }

  private pageCall(calls: readonly QueuedCall[]): string | undefined {
    const page = this.wire.page();
    const call = page.phase === PHASE_NONE ? undefined : calls[page.call];
    return call && formatCall(call.name, call.args.map(plainArg));
  }

  private failure(call: QueuedCall, result: number): Error {
    const error = new SyscallError({
      syscall: call.name,
      call: formatCall(call.name, call.args.map(plainArg)),
      errno: -result,
      side: 'stage',
      step: call.step.id,
    });
    return call.step.explain?.(error) ?? error;
  }

  // --- namespaces

  /** int unshare(int flags); unshare(2). EPERM without CAP_SYS_ADMIN. */
  unshare(flags: number): void {
    this.post('unshare', [flags]);
  }

  /** int setns(int fd, int nstype); setns(2). `fd` stays open. EINVAL: another type of namespace. EPERM. */
  setns(fd: StageFd, nstype: number): void {
    this.post('setns', [fd, nstype]);
  }

  /** int sethostname(const char *name, size_t len); sethostname(2). EINVAL above 64 bytes. */
  sethostname(name: string): void {
    this.post('sethostname', [name, Buffer.byteLength(name)]);
  }

  /** int setdomainname(const char *name, size_t len); setdomainname(2). EINVAL above 64 bytes. */
  setdomainname(name: string): void {
    this.post('setdomainname', [name, Buffer.byteLength(name)]);
  }

  // --- mounts

  /** int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const void *data); mount(2). */
  mount(source: string, target: string, fstype: string | null, flags: number, data: string | null): void {
    this.post('mount', [source, target, fstype, flags, data]);
  }

  /** int umount2(const char *target, int flags); umount(2). EINVAL: not a mount point, or locked. */
  umount2(target: string, flags: number): void {
    this.post('umount2', [target, flags]);
  }

  /** int pivot_root(const char *new_root, const char *put_old); pivot_root(2). EINVAL: see its list; EBUSY: same mount. */
  pivot_root(newRoot: string, putOld: string): void {
    this.post('pivot_root', [newRoot, putOld]);
  }

  /** int chroot(const char *path); chroot(2). The working directory stays where it is. */
  chroot(path: string): void {
    this.post('chroot', [path]);
  }

  /** int fsopen(const char *fsname, unsigned int flags); fsopen(2). Returns a filesystem context. ENODEV: kernel lacks it. */
  fsopen(fsname: string): StageFd {
    return this.open('fsopen', [fsname, k.FSOPEN_CLOEXEC]);
  }

  /** int fsconfig(int fd, FSCONFIG_SET_STRING, const char *key, const char *value, 0); fsconfig(2). EINVAL: not an option of it. */
  fsconfig_set_string(fd: StageFd, key: string, value: string): void {
    this.post('fsconfig', [fd, k.FSCONFIG_SET_STRING, key, value, 0]);
  }

  /** int fsconfig(int fd, FSCONFIG_SET_FLAG, const char *key, NULL, 0); fsconfig(2). EINVAL: not an option of it. */
  fsconfig_set_flag(fd: StageFd, key: string): void {
    this.post('fsconfig', [fd, k.FSCONFIG_SET_FLAG, key, null, 0]);
  }

  /** int fsconfig(int fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0); fsconfig(2). EPERM: the namespaces don't own what it shows. */
  fsconfig_create(fd: StageFd): void {
    this.post('fsconfig', [fd, k.FSCONFIG_CMD_CREATE, null, null, 0]);
  }

  /** int fsmount(int fsfd, unsigned int flags, unsigned int attr_flags); fsmount(2). Returns a detached mount, unmounted when closed. */
  fsmount(fd: StageFd, attributes: number): StageFd {
    return this.open('fsmount', [fd, k.FSMOUNT_CLOEXEC, attributes]);
  }

  /** int open_tree(int dfd, const char *path, unsigned int flags); open_tree(2). With OPEN_TREE_CLONE: a detached copy. ENOENT. */
  open_tree(dirfd: StageFd | typeof k.AT_FDCWD, path: string, flags: number): StageFd {
    return this.open('open_tree', [dirfd, path, flags | k.OPEN_TREE_CLOEXEC]);
  }

  /** int open_tree(int fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | flags); open_tree(2). A detached copy of the mount that `fd` lies on, from there. */
  clone(fd: StageFd, flags = 0): StageFd {
    return this.open('open_tree', [fd, '', k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | k.AT_EMPTY_PATH | flags]);
  }

  /** int move_mount(int from, "", int to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH); move_mount(2). ENOTDIR: file on directory. */
  move_mount(from: StageFd, to: StageFd): void {
    this.post('move_mount', [from, '', to, '', k.MOVE_MOUNT_F_EMPTY_PATH | k.MOVE_MOUNT_T_EMPTY_PATH]);
  }

  /** int mount_setattr(int fd, "", unsigned int flags, struct mount_attr *attr, size_t size); mount_setattr(2). EPERM: a locked flag. */
  mount_setattr(
    fd: StageFd,
    attributes: { set?: number; clear?: number; propagation?: number; recursive?: boolean; idMap?: StageFd },
  ): void {
    const { set = 0, clear = 0, propagation = 0, recursive = false, idMap } = attributes;
    const flags = k.AT_EMPTY_PATH | (recursive ? k.AT_RECURSIVE : 0);
    const attr = structs.mountAttr(idMap ? set | k.MOUNT_ATTR_IDMAP : set, clear, propagation, idMap?.number ?? 0);
    this.post('mount_setattr', [fd, '', flags, attr, attr.length]);
  }

  // --- files, always relative to a descriptor

  /** int chdir(const char *path); chdir(2). ENOENT, ENOTDIR, EACCES. */
  chdir(path: string): void {
    this.post('chdir', [path]);
  }

  /** int fchdir(int fd); chdir(2). `fd` stays open. */
  fchdir(fd: StageFd): void {
    this.post('fchdir', [fd]);
  }

  /** long getcwd(char *buf, unsigned long size), the system call; getcwd(2). "(unreachable)…" when outside the root. ENOENT: deleted. */
  getcwd(): string {
    const { out, result } = this.call('getcwd', [{ out: 4096 }, 4096]);
    return out.toString('utf8', 0, result - 1);
  }

  /**
   * long openat2(int dirfd, const char *path, struct open_how *how, size_t size); openat2(2). Returns a close-on-exec
   * descriptor, or -errno if the errno's name is `tolerated`. ENOENT; ELOOP: a link where `resolve` forbids one; EXDEV.
   */
  openat2(
    dirfd: StageFd | typeof k.AT_FDCWD,
    path: string,
    flags: number,
    resolve: number,
    tolerated: ErrnoName[] = [],
  ): StageFd {
    const how = structs.openHow(flags | k.O_CLOEXEC, 0, resolve);
    return this.open('openat2', [dirfd, path, how, how.length], tolerated);
  }

  /** statx(fd, "", AT_EMPTY_PATH), once a descriptor, in one frame; statx(2). Undefined where there is none. */
  statx_all(fds: readonly StageFd[]): (structs.FileStatus | undefined)[] {
    return this.statxMany(fds.map((fd) => [fd, '', k.AT_EMPTY_PATH] as const));
  }

  /** statx(AT_FDCWD, path, 0), once a path, in one frame; statx(2). Undefined where nothing is. */
  statx_paths(paths: readonly string[]): (structs.FileStatus | undefined)[] {
    return this.statxMany(paths.map((path) => [k.AT_FDCWD, path, 0] as const));
  }

  private statxMany(all: readonly (readonly [StageFd | number, string, number])[]): (structs.FileStatus | undefined)[] {
    const calls = all.map((at): StageArg[] => [...at, structs.STATX_BASIC_STATS, { out: structs.STATX_SIZE }]);
    const outcomes = this.callAll('statx', calls, all[0]?.[0] === k.AT_FDCWD ? ['ENOENT', 'ENOTDIR'] : ['EBADF']);
    return outcomes.map(({ result, out }) => (result < 0 ? undefined : structs.readStatx(out)));
  }

  /** int close(int fd); close(2). */
  close(fd: StageFd): void {
    this.post('close', [fd]);
  }

  /** int mkdirat(int dirfd, const char *path, mode_t mode); mkdir(2). One component: no link can lead away. EEXIST is tolerated. */
  mkdirat(dirfd: StageFd, name: string, mode: number): void {
    this.post('mkdirat', [dirfd, name, mode], ['EEXIST']);
  }

  /** int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev); mknod(2). EPERM in a user namespace. */
  mknodat(dirfd: StageFd, name: string, mode: number, device: number, tolerated: ErrnoName[] = []): void {
    this.post('mknodat', [dirfd, name, mode, device], tolerated);
  }

  /** int symlinkat(const char *target, int newdirfd, const char *linkpath); symlink(2). EEXIST is tolerated. */
  symlinkat(target: string, dirfd: StageFd, name: string): void {
    this.post('symlinkat', [target, dirfd, name], ['EEXIST']);
  }

  /** int fchmodat(int dirfd, const char *path, mode_t mode), the system call: follows links; chmod(2). */
  fchmodat(dirfd: StageFd, name: string, mode: number): void {
    this.post('fchmodat', [dirfd, name, mode]);
  }

  /** int fchownat(int dirfd, const char *path, uid_t, gid_t, AT_SYMLINK_NOFOLLOW); chown(2). */
  fchownat(dirfd: StageFd, name: string, uid: number, gid: number): void {
    this.post('fchownat', [dirfd, name, uid, gid, k.AT_SYMLINK_NOFOLLOW | k.AT_EMPTY_PATH]);
  }

  /** int statx(int dirfd, "", AT_EMPTY_PATH, unsigned int mask, struct statx *); statx(2). Undefined if `fd` never came about. */
  fstat(fd: StageFd): structs.FileStatus | undefined {
    return this.statx_all([fd])[0];
  }

  /** int fstatfs(int fd, struct statfs *buf); statfs(2). Returns f_type: PROC_SUPER_MAGIC and so on. */
  fstatfs_type(fd: StageFd): number {
    return dataView(this.call('fstatfs', [fd, { out: 120 }]).out).getUint32(0, true);
  }

  /** ssize_t read(int fd, void *buf, size_t count); read(2). Empty at the end. `count` is at most 32 KiB. */
  read(fd: StageFd, count: number): Buffer {
    const { result, out } = this.call('read', [fd, { out: count }, count]);
    return Buffer.from(out.subarray(0, result));
  }

  /** ssize_t write(int fd, const void *buf, size_t count); write(2). EINVAL and EPERM are what /proc answers to a wrong value. */
  write(fd: StageFd, text: string): void {
    this.post('write', [fd, text, Buffer.byteLength(text)]);
  }

  // --- terminal

  /** int ioctl(int fd, TIOCSPTLCK, int *lock); TIOCSPTLCK(2const). Unlocks the other end of a new pseudo-terminal. */
  unlockpt(ptmx: StageFd): void {
    this.post('ioctl', [ptmx, k.TIOCSPTLCK, new Uint8Array(4)]);
  }

  /** int ioctl(int fd, TIOCGPTPEER, int flags); TIOCGPTPEER(2const). Returns the other end of this terminal, whatever /dev/pts shows. */
  tiocgptpeer(ptmx: StageFd): StageFd {
    return this.open('ioctl', [ptmx, k.TIOCGPTPEER, k.O_RDWR | k.O_NOCTTY | k.O_CLOEXEC]);
  }

  /** int ioctl(int fd, TIOCSWINSZ, struct winsize *); TIOCSWINSZ(2const). */
  tiocswinsz(fd: StageFd, rows: number, columns: number): void {
    this.post('ioctl', [fd, k.TIOCSWINSZ, structs.winsize(rows, columns)]);
  }

  /** int ioctl(int fd, TIOCSCTTY, 0); TIOCSCTTY(2const). EPERM: not a session leader, or it has a terminal. */
  tiocsctty(fd: StageFd): void {
    this.post('ioctl', [fd, k.TIOCSCTTY, 0]);
  }

  /** int dup3(int oldfd, int newfd, int flags); dup(2). Both stay open. */
  dup3(oldfd: StageFd, newfd: number): void {
    this.post('dup3', [oldfd, newfd, 0]);
  }

  /** ssize_t sendmsg(int sockfd, const struct msghdr *msg, 0) with SCM_RIGHTS; sendmsg(2), unix(7). A copy goes to `received` on the host. */
  send_fd(fd: StageFd): HostFd {
    if (!this.exists(fd)) throw new Error('there is no descriptor to send');
    this.postFd(fd.number!, this.socket);
    if (!this.alone) this.flush();
    return this.received.at(-1)!;
  }

  private postFd(number: number, socket: StageFd): void {
    const control = structs.descriptorMessage(k.SOL_SOCKET, k.SCM_RIGHTS, number);
    const iov = { struct: structs.iovec(1), pointers: [{ at: 0, to: new Uint8Array(1) }] };
    const pointers = [
      { at: 16, to: iov },
      { at: 32, to: control },
    ];
    this.post('sendmsg', [socket, { struct: structs.msghdr(1, control.length), pointers }, 0]);
  }

  /**
   * Puts descriptors at 3 and up, for the container. The socket that this very call came by lies there: it moves out of
   * the way first, by fcntl(F_DUPFD_CLOEXEC), and the stage is told with a call that succeeds where to go on.
   */
  place_fds(fds: readonly StageFd[]): void {
    const [socket, ...copies] = [this.socket, ...fds].map((fd) =>
      this.open('fcntl', [fd, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD]),
    );
    this.serveOn(socket!);
    for (const [i, copy] of copies.entries()) this.dup3(copy, STAGE_SOCKET_FD + i);
  }

  /** The answer to a call that returns 0 comes over `fd` already, and so does all that follows. */
  private serveOn(
    fd: StageFd,
    name: SyscallName = 'prctl',
    args: StageArg[] = [k.PR_SET_DUMPABLE, 0, 0, 0, 0],
  ): number {
    this.flush();
    this.announce(name, args);
    const serveFd = fd.number!;
    this.queue.push({ name, args, tolerated: [], fd: undefined, step: this.current, serveFd });
    return this.flush().at(-1)!.result;
  }

  /**
   * long clone3(struct clone_args *args, size_t size), with CLONE_PARENT; clone(2). From here on the calls are the child's: a sibling
   * of the stage's, with its descriptors. Returns the child's pid. EPERM: no capabilities in the user namespace. ENOSPC: namespaces(7), limits.
   */
  fork(flags: number): number {
    const args = structs.cloneArgs(flags | k.CLONE_PARENT);
    return this.wire.branch((end) => {
      this.socket = this.receive_fds([end])[0]!;
      return this.serveOn(this.socket, 'clone3', [args, args.length]);
    });
  }

  // --- network

  /** socket(AF_INET, SOCK_DGRAM), ioctl(SIOCSIFFLAGS, IFF_UP), close; netdevice(7). EPERM: not the owner of the network namespace. */
  interface_up(name: string): void {
    const fd = this.open('socket', [k.AF_INET, k.SOCK_DGRAM | k.SOCK_CLOEXEC, 0]);
    this.post('ioctl', [fd, k.SIOCSIFFLAGS, structs.ifreq(name, k.IFF_UP)]);
    this.close(fd);
  }

  // --- who the process is, and what it may

  /** int prctl(PR_SET_DUMPABLE, 0); PR_SET_DUMPABLE(2const). Until the exec, which sets it again. */
  set_undumpable(): void {
    this.post('prctl', [k.PR_SET_DUMPABLE, 0, 0, 0, 0]);
  }

  /** int prctl(PR_SET_PDEATHSIG, int sig); PR_SET_PDEATHSIG(2const). 0 switches it off. Cleared by a change of identity. */
  set_pdeathsig(signal: number): void {
    this.post('prctl', [k.PR_SET_PDEATHSIG, signal, 0, 0, 0]);
  }

  /** int prctl(PR_SET_KEEPCAPS, 1); PR_SET_KEEPCAPS(2const). The exec clears it. */
  set_keepcaps(): void {
    this.post('prctl', [k.PR_SET_KEEPCAPS, 1, 0, 0, 0]);
  }

  /** int prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); PR_SET_NO_NEW_PRIVS(2const). For good. */
  set_no_new_privs(): void {
    this.post('prctl', [k.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  }

  /** int prctl(PR_CAPBSET_DROP, int cap); PR_CAPBSET_DROP(2const). For good. EINVAL (unknown to this kernel) is tolerated. */
  capbset_drop(capability: number): void {
    this.post('prctl', [k.PR_CAPBSET_DROP, capability, 0, 0, 0], ['EINVAL']);
  }

  /** int prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); PR_CAP_AMBIENT(2const). */
  cap_ambient_clear_all(): void {
    this.post('prctl', [k.PR_CAP_AMBIENT, k.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0]);
  }

  /** int prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, int cap, 0, 0); PR_CAP_AMBIENT(2const). EPERM: not permitted and inheritable. */
  cap_ambient_raise(capability: number): void {
    this.post('prctl', [k.PR_CAP_AMBIENT, k.PR_CAP_AMBIENT_RAISE, capability, 0, 0]);
  }

  /** int capset(cap_user_header_t hdr, const cap_user_data_t data); capset(2). 64-bit sets. EPERM: more than is permitted. */
  capset(sets: { effective: bigint; permitted: bigint; inheritable: bigint }): void {
    this.post('capset', [structs.capHeader, structs.capData(sets.effective, sets.permitted, sets.inheritable)]);
  }

  /** int setresgid(gid_t rgid, gid_t egid, gid_t sgid); setresuid(2). EINVAL: not mapped in this user namespace. */
  setresgid(gid: number): void {
    this.post('setresgid', [gid, gid, gid]);
  }

  /** int setresuid(uid_t ruid, uid_t euid, uid_t suid); setresuid(2). EINVAL: not mapped. EAGAIN: RLIMIT_NPROC. */
  setresuid(uid: number): void {
    this.post('setresuid', [uid, uid, uid]);
  }

  /** int setgroups(size_t size, const gid_t *list); setgroups(2). EPERM where /proc/self/setgroups says deny. */
  setgroups(gids: readonly number[]): void {
    this.post('setgroups', [gids.length, gids.length > 0 ? structs.gidList(gids) : null]);
  }

  /** int prlimit64(0, int resource, const struct rlimit64 *new, NULL); getrlimit(2). -1 is RLIM_INFINITY. EPERM: above the hard limit. */
  prlimit64(resource: number, soft: number, hard: number): void {
    this.post('prlimit64', [0, resource, structs.rlimit64(soft, hard), null]);
  }

  /** sched_setaffinity(2), sched_setattr(2), ioprio_set(2), set_mempolicy(2) or personality(2) of the calling process. EPERM, EBUSY, EINVAL: see there. */
  schedule(name: SyscallName, args: readonly Arg[]): void {
    this.post(name, args);
  }

  /** prlimit64(2), the hard limit alone, and only upwards. EPERM without CAP_SYS_RESOURCE of the host. */
  raise_hard_limit(resource: number, hard: number): void {
    const { out } = this.call('prlimit64', [0, resource, null, { out: 16 }]);
    const [soft, present] = [out.readBigInt64LE(0), out.readBigUInt64LE(8)];
    if (BigInt.asUintN(64, BigInt(hard)) > present) this.prlimit64(resource, Number(soft), hard);
  }

  /** pid_t setsid(void); setsid(2). EPERM (already a leader) is tolerated. */
  setsid(): void {
    this.post('setsid', [], ['EPERM']);
  }

  /** mode_t umask(mode_t mask); umask(2). Always succeeds. */
  umask(mask: number): void {
    this.post('umask', [mask]);
  }

  /** int seccomp(SECCOMP_SET_MODE_FILTER, unsigned int flags, struct sock_fprog *); seccomp(2). EACCES: neither no_new_privs nor CAP_SYS_ADMIN. */
  seccomp_set_mode_filter(program: Uint8Array, flags: number): void {
    this.held = true; // if a watcher has put it off
    const fprog = { struct: structs.sockFprog(program.length / 8), pointers: [{ at: 8, to: program }] };
    this.post('seccomp', [k.SECCOMP_SET_MODE_FILTER, flags, fprog]);
  }

  /** fcntl(F_DUPFD_CLOEXEC) of any descriptor: takes the lowest number that is free. */
  reserve_fd(): StageFd {
    return this.open('fcntl', [this.socket, k.F_DUPFD_CLOEXEC, 0]);
  }

  /**
   * The same with SECCOMP_FILTER_FLAG_NEW_LISTENER. The listener gets the number that `reserved` had all along, so that the one
   * call by which it goes to the host (sendmsg(2), SCM_RIGHTS) can be written down before. Close-on-exec. EBUSY: there is one already.
   */
  seccomp_new_listener(program: Uint8Array, flags: number, reserved: StageFd, outbox = this.socket): void {
    this.close(reserved);
    this.seccomp_set_mode_filter(program, flags);
    this.postFd(reserved.number!, outbox);
  }

  /** int close_range(unsigned int first, ~0U, CLOSE_RANGE_CLOEXEC); close_range(2). */
  close_range_cloexec(first: number): void {
    this.post('close_range', [first, 0xffffffff, k.CLOSE_RANGE_CLOEXEC]);
  }

  /** Hands descriptors of the host to the stage (SCM_RIGHTS, unix(7)); both own a copy. Returns their numbers there. */
  receive_fds(descriptors: readonly HostFd[]): StageFd[] {
    this.flush();
    if (descriptors.length === 0) return [];
    const calls: QueuedCall[] = [{ name: 'getpid', args: [], tolerated: [], fd: undefined, step: this.current }];
    const started = this.observer ? nowMs() : 0;
    const { reply } = this.exchange(calls, descriptors);
    if (!reply) throw new StageGone(this.wire.page(), undefined);
    this.report(calls, reply.results, started);
    return reply.descriptors.map((number) => new StageFd(number));
  }

  /**
   * int execve(const char *pathname, char *const argv[], char *const envp[]); execve(2). Sends the held frame; returns
   * when the process is the container's own. ENOENT: also a missing interpreter; EACCES; ENOEXEC; E2BIG.
   */
  execve(path: string, argv: readonly string[], envp: readonly string[]): void {
    this.sendLast('execve', [path, { strings: argv }, { strings: envp }]);
  }

  /** int execveat(int fd, "", char *const argv[], char *const envp[], AT_EMPTY_PATH); execveat(2). As execve, of a descriptor. */
  fexecve(fd: StageFd, argv: readonly string[], envp: readonly string[]): void {
    this.sendLast('execveat', [fd, '', { strings: argv }, { strings: envp }, k.AT_EMPTY_PATH]);
  }

  private sendLast(name: SyscallName, args: readonly StageArg[]): void {
    this.held = true;
    this.post(name, args);
    const calls = this.queue;
    this.queue = [];
    this.held = false;
    const started = this.observer ? nowMs() : 0;
    if (!this.attended) {
      this.wire.send(this.encode(calls, 0).bytes, []);
      const texts = calls.map(({ name, args }) => formatCall(name, args.map(plainArg)));
      this.last = { frame: this.frames, calls: texts, listener: this.outbox?.number };
      this.report(calls, Array(calls.length).fill(undefined), started);
      return;
    }
    const { reply } = this.exchange(calls, [], this.listener);
    if (reply) {
      this.report(calls, reply.results, started);
      throw this.failure(calls[reply.results.length - 1]!, reply.results.at(-1)!);
    }
    // The socket's end: the exec closed it, or the stage died on the way. The shared page knows which.
    const page = this.wire.page();
    const last = calls[page.call];
    const done = page.call === calls.length - 1 && page.phase === PHASE_STARTED;
    const results = calls.slice(0, page.call).map(() => 0);
    this.report(calls, [...results, done ? 0 : page.result || undefined], started);
    if (!done && last && page.result < 0) throw this.failure(last, page.result);
    if (!done) throw new StageGone(page, last && formatCall(last.name, last.args.map(plainArg)));
  }
}
