/** The world that a recording stage answers from: files of a container, what is mounted, and open descriptors. No I/O. */
import * as k from '../../src/core/kernel/constants.ts';
import { E } from '../../src/core/kernel/errno.ts';

/** A call as it came out of a frame: references replaced by results, pointers by what stands there. */
export interface RecordedCall {
  name: string;
  /** Integers; a pointer is 0 here and stands in `memory`. */
  args: readonly number[];
  /** By argument: the bytes from where the pointer leads to the end of the frame's data. */
  memory: ReadonlyMap<number, Buffer>;
  result: number;
  /** Which frame it came with, counted from 0. */
  frame: number;
}

/** The C string that argument `index` points to. */
export function textOf(call: Pick<RecordedCall, 'memory'>, index: number): string {
  const bytes = call.memory.get(index)!;
  return bytes.toString('utf8', 0, bytes.indexOf(0));
}

export interface FakeFile {
  /** Type and permissions. */
  mode: number;
  content?: string;
  rdev?: number;
}

export const directory: FakeFile = { mode: k.S_IFDIR | 0o755 };
export const file = (content = '', mode = 0o644): FakeFile => ({ mode: k.S_IFREG | mode, content });
export const link: FakeFile = { mode: k.S_IFLNK | 0o777 };

/** The root filesystem of a small image; what is mounted on it comes on top. */
const smallImage: Record<string, FakeFile> = {
  ...Object.fromEntries(
    ['/', '/bin', '/dev', '/etc', '/home', '/proc', '/sys', '/tmp'].map((path) => [path, directory]),
  ),
  '/bin/sh': file('', 0o755),
  '/etc/passwd': file('root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n'),
  '/etc/group': file('root:x:0:root\nwheel:x:10:root,anna\nanna:x:1000:\naudio:x:29:anna\n'),
};

/** What appears below a mount point with its file system. */
const contents: Record<string, Record<string, FakeFile>> = {
  proc: {
    ...Object.fromEntries(['bus', 'fs', 'irq', 'sys', 'acpi', 'scsi'].map((name) => [name, directory])),
    ...Object.fromEntries(['kcore', 'keys', 'timer_list', 'sysrq-trigger', 'interrupts'].map((name) => [name, file()])),
  },
  sysfs: { fs: directory, 'fs/cgroup': directory, firmware: directory },
  devpts: { ptmx: { mode: k.S_IFCHR | 0o666, rdev: 0x502 } },
};

const magic: Record<string, number> = { proc: k.PROC_SUPER_MAGIC, devpts: k.DEVPTS_SUPER_MAGIC, tmpfs: k.TMPFS_MAGIC };

const FIRST_FD = 3;
type Send = (fd: number) => void;
type Answer = (call: RecordedCall, send: Send) => number;

export class FakeContainer {
  readonly files: Map<string, FakeFile>;
  /** Mount points with their file systems, in order. */
  readonly mounts: [path: string, fstype: string][] = [];
  private readonly target: string;
  private readonly labels: string[] = ['stdin', 'stdout', 'stderr', 'socket'];
  private readonly offsets = new Map<number, number>();
  private readonly openFds = new Set([0, 1, 2, FIRST_FD]);
  private cwd = 'host:/';
  private pivoted = false;

  /** `target`: where on the host the root will be mounted. Host files are `files` whose name begins with `host:`. */
  constructor(target: string, files: Record<string, FakeFile> = {}) {
    this.target = target;
    this.files = new Map(Object.entries({ ...smallImage, ...files }));
  }

  open(label: string): number {
    const fd = this.labels.push(label) - 1; // never the same number twice: a transcript stays clear
    this.openFds.add(fd);
    return fd;
  }

  /** What a descriptor leads to, also after it was closed. */
  label(fd: number): string | undefined {
    return this.labels[fd];
  }

  answer(call: RecordedCall, send: Send): number {
    const fdArgs = [
      'close',
      'move_mount',
      'mount_setattr',
      'fchdir',
      'fsconfig',
      'fsmount',
      'fstatfs',
      'write',
      'read',
    ];
    const fd = call.args[0]!;
    if (fdArgs.includes(call.name) && !this.openFds.has(fd)) return -E.EBADF;
    return this.answers[call.name]?.(call, send) ?? 0;
  }

  private at(dirfd: number, path: string): string {
    const base = dirfd === k.AT_FDCWD ? this.cwd : (this.labels[dirfd] ?? 'nothing');
    if (path.startsWith('/') && dirfd === k.AT_FDCWD) return this.pivoted ? path : this.onHost(path);
    const whole = `${base}/${path}`.replace(/\/\.(?=\/|$)/g, '').replace(/\/+/g, '/');
    return whole.length > 1 ? whole.replace(/\/$/, '') : whole;
  }

  private onHost(path: string): string {
    return path === this.target && this.mounts.length > 0 ? '/' : `host:${path}`;
  }

  private lookUp(path: string): FakeFile | undefined {
    if (path.startsWith('detached ')) return path.includes('/') ? file() : directory;
    return this.files.get(path);
  }

  private make(dirfd: number, name: string, made: FakeFile): number {
    const path = this.at(dirfd, name);
    if (this.files.has(path)) return -E.EEXIST;
    this.files.set(path, made);
    return 0;
  }

  private attach(source: string, path: string): void {
    const fstype = source.replace('detached ', '');
    this.mounts.push([path, fstype]);
    if (source.startsWith('host:')) {
      this.files.set(path, this.files.get(source)!);
      return;
    }
    if (!source.startsWith('detached ')) return; // a mask, or a path bound onto itself
    for (const below of [...this.files.keys()]) if (below.startsWith(`${path}/`)) this.files.delete(below);
    for (const [name, made] of Object.entries(contents[fstype] ?? {})) this.files.set(`${path}/${name}`, made);
  }

  private fstypeOf(label: string): string {
    if (label.startsWith('detached ')) return label.slice(9).replace(/\/.*/, '');
    const above = this.mounts.filter(([path]) => label === path || label.startsWith(`${path}/`));
    return above.at(-1)?.[1] ?? 'overlay';
  }

  private statx(call: RecordedCall): number {
    const [dirfd] = call.args;
    const path = textOf(call, 1);
    if (path === '' && !this.openFds.has(dirfd!)) return -E.EBADF;
    const found = this.lookUp(path === '' ? this.labels[dirfd!]! : this.at(dirfd!, path));
    if (!found) return -E.ENOENT;
    const out = call.memory.get(4)!;
    out.writeUInt16LE(found.mode, 28); // stx_mode
    out.writeBigUInt64LE(BigInt(found.content?.length ?? 0), 40); // stx_size
    out.writeUInt32LE((found.rdev ?? 0) >> 8, 128); // stx_rdev_major
    out.writeUInt32LE((found.rdev ?? 0) & 0xff, 132); // stx_rdev_minor
    return 0;
  }

  private read(call: RecordedCall): number {
    const fd = call.args[0]!;
    const offset = this.offsets.get(fd) ?? 0;
    const part = Buffer.from(this.lookUp(this.labels[fd]!)?.content ?? '').subarray(offset, offset + call.args[2]!);
    this.offsets.set(fd, offset + part.length);
    call.memory.get(1)!.set(part);
    return part.length;
  }

  private readonly answers: Record<string, Answer> = {
    getpid: () => 1,
    umask: () => 0o22,
    setsid: () => 1,
    socket: () => this.open('an inet socket'),
    fsopen: (call) => this.open(`context of ${textOf(call, 0)}`),
    fsmount: (call) => this.open(this.labels[call.args[0]!]!.replace('context of', 'detached')),
    openat2: (call) => {
      const path = this.at(call.args[0]!, textOf(call, 1));
      return path === `host:${this.target}` || this.lookUp(path) ? this.open(path) : -E.ENOENT;
    },
    open_tree: (call) => {
      const path = textOf(call, 1);
      if (path === '') return this.open(this.labels[call.args[0]!]!);
      return this.files.has(this.onHost(path)) ? this.open(this.onHost(path)) : -E.ENOENT;
    },
    move_mount: (call) => {
      const [from, , to] = call.args;
      if (!this.openFds.has(to!)) return -E.EBADF;
      this.attach(this.labels[from!]!, this.labels[to!]!.replace(`host:${this.target}`, '/'));
      return 0;
    },
    mount: (call) => {
      if (call.memory.has(2)) this.mounts.push(['/', textOf(call, 2)]);
      return 0;
    },
    mkdirat: (call) => this.make(call.args[0]!, textOf(call, 1), directory),
    mknodat: (call) => this.make(call.args[0]!, textOf(call, 1), { mode: call.args[2]!, rdev: call.args[3]! }),
    symlinkat: (call) => this.make(call.args[1]!, textOf(call, 2), link),
    statx: (call) => this.statx(call),
    fstatfs: (call) => {
      call.memory.get(1)!.writeBigUInt64LE(BigInt(magic[this.fstypeOf(this.labels[call.args[0]!]!)] ?? 0));
      return 0;
    },
    read: (call) => this.read(call),
    write: (call) => call.args[2]!,
    ioctl: (call) => (call.args[1] === k.TIOCGPTPEER ? this.open('/dev/pts/0') : 0),
    sendmsg: (call, send) => {
      send(call.args[0]!);
      return 1;
    },
    pivot_root: () => {
      this.pivoted = true;
      return 0;
    },
    setns: (call) => {
      if (!(call.args[1]! & k.CLONE_NEWNS)) return 0;
      this.pivoted = true;
      this.cwd = '/';
      return 0;
    },
    chdir: (call) => {
      this.cwd = this.at(k.AT_FDCWD, textOf(call, 0));
      return 0;
    },
    fchdir: (call) => {
      this.cwd = this.labels[call.args[0]!]!;
      return 0;
    },
    getcwd: (call) => call.memory.get(0)!.write(`${this.cwd}\0`),
    close: (call) => {
      this.openFds.delete(call.args[0]!);
      return 0;
    },
  };
}
