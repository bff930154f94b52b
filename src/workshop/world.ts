/**
 * The world that a recording stage answers from: a container's files and the host's, what would be mounted by now, and
 * open descriptors. It looks at files through trees (files.ts) and changes none: what is made is remembered.
 *
 * A label says what a descriptor leads to: `/etc` in the container, `host:/etc`, `detached tmpfs`, `context of tmpfs`.
 */
import * as k from '../core/kernel/constants.ts';
import { E } from '../core/kernel/errno.ts';
import { directory, file, type Tree, typeOf, type WorldFile } from './files.ts';

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

export interface WorldFacts {
  /** The root filesystem, before anything is mounted on it. */
  image: Tree;
  host: Tree;
  /** What a new filesystem of this type shows; only for those that are not empty. */
  filesystems: Record<string, Tree>;
  /** Where on the host the root will be mounted. */
  target: string;
  /** Numbers of closed descriptors are taken again, the lowest first, as the kernel does. */
  reuseNumbers?: boolean;
  /** Soft and hard limit that the process begins with, by number. */
  limits?: (resource: number) => readonly [soft: bigint, hard: bigint];
}

interface Mounted {
  at: string;
  fstype: string;
  tree: Tree;
  made: Map<string, WorldFile>;
}

const magic: Record<string, number> = { proc: k.PROC_SUPER_MAGIC, devpts: k.DEVPTS_SUPER_MAGIC, tmpfs: k.TMPFS_MAGIC };
const HOST = 'host:';
const DETACHED = 'detached ';
const FIRST_FD = 3;
/** As many links as the kernel follows; path_resolution(7). */
const MAX_LINKS = 40;
const empty: Tree = (path) => (path === '/' ? directory : undefined);
const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

type Send = (fd: number) => void;
type Answer = (call: RecordedCall, send: Send) => number;
const takesFd = 'close move_mount mount_setattr fchdir fsconfig fsmount fstatfs write read'.split(' ');

export class World {
  private readonly facts: WorldFacts;
  private readonly mounts: Mounted[];
  /** Made in a filesystem that is mounted nowhere yet, by label. */
  private readonly nodes = new Map<string, WorldFile>();
  private readonly labels: string[] = ['stdin', 'stdout', 'stderr', 'socket'];
  private readonly offsets = new Map<number, number>();
  private readonly openFds = new Set([0, 1, 2, FIRST_FD]);
  private cwd = `${HOST}/`;
  private rootMounted = false;
  private pivoted = false;

  constructor(facts: WorldFacts) {
    this.facts = facts;
    this.mounts = [{ at: '/', fstype: 'overlay', tree: facts.image, made: new Map() }];
  }

  /** Without reuse never the same number twice: what a transcript's descriptor leads to can be asked afterwards. */
  open(label: string, lowest = FIRST_FD): number {
    let fd = this.facts.reuseNumbers ? lowest : Math.max(lowest, this.labels.length);
    while (this.openFds.has(fd)) fd++;
    this.labels[fd] = label;
    this.openFds.add(fd);
    return fd;
  }

  /** What a descriptor leads to, also after it was closed. */
  label(fd: number): string | undefined {
    return this.labels[fd];
  }

  answer(call: RecordedCall, send: Send): number {
    if (takesFd.includes(call.name) && !this.openFds.has(call.args[0]!)) return -E.EBADF;
    return this.answers[call.name]?.(call, send) ?? 0;
  }

  /** What is mounted at this path, of the container, from now on. */
  mount(at: string, source: string): void {
    const fstype = source.replace(DETACHED, '');
    if (at === '/' || at.startsWith(HOST)) {
      this.rootMounted = true; // the root itself, and what is put over it for a moment: below lies the image in any case
      return;
    }
    const isNew = source.startsWith(DETACHED) && !fstype.includes('/');
    const tree = isNew ? this.facts.filesystems[fstype] : this.partOf(source);
    this.mounts.push({ at, fstype, tree: tree ?? empty, made: new Map() });
  }

  /** A bound file or folder. */
  private partOf(label: string): Tree {
    return (path) => this.lookUp(path === '/' ? label : `${label}${path}`);
  }

  private covering(path: string): Mounted {
    return this.mounts.findLast(({ at }) => at === '/' || path === at || path.startsWith(`${at}/`))!;
  }

  private within(path: string): { mount: Mounted; rest: string } {
    const mount = this.covering(path);
    return { mount, rest: mount.at === '/' ? path : path.slice(mount.at.length) || '/' };
  }

  private lookUp(label: string): WorldFile | undefined {
    if (label.startsWith(DETACHED)) return this.nodes.get(label) ?? this.lookUpDetached(label.slice(DETACHED.length));
    if (label.startsWith(HOST)) return label === HOST + this.facts.target ? directory : this.facts.host(label.slice(5));
    if (!label.startsWith('/')) return undefined;
    const { mount, rest } = this.within(label);
    return mount.made.get(rest) ?? mount.tree(rest);
  }

  private lookUpDetached(label: string): WorldFile | undefined {
    const [fstype, ...rest] = label.split('/');
    if (rest.length === 0) return directory;
    const tree = this.facts.filesystems[fstype!];
    return tree ? tree(`/${rest.join('/')}`) : file();
  }

  /** The label of what a path leads to, links followed unless `links` is false; -errno where it leads nowhere. */
  private walk(from: string, path: string, links = true, followLast = true): string | number {
    const side = from.startsWith(HOST) ? HOST : '';
    const inside = path.startsWith('/') ? '' : from.slice(side.length);
    let at = partsOf(inside);
    const parts = partsOf(path);
    for (let followed = 0; parts.length > 0; ) {
      const name = parts.shift()!;
      if (name === '..') {
        at = at.slice(0, -1);
        continue;
      }
      const found = this.lookUp(`${side}/${[...at, name].join('/')}`);
      if (!found) return -E.ENOENT;
      const type = typeOf(found);
      const isMagic = /^\w+:\[\d+\]$/.test(found.link ?? ''); // of /proc/PID/ns: leads to no path
      if (type === k.S_IFLNK && !isMagic && (parts.length > 0 || followLast)) {
        if (!links || ++followed > MAX_LINKS) return -E.ELOOP;
        const target = found.link ?? '';
        parts.unshift(...partsOf(target));
        if (target.startsWith('/')) at = [];
      } else if (parts.length > 0 && type !== k.S_IFDIR) return -E.ENOTDIR;
      else at.push(name);
    }
    return `${side}/${at.join('/')}`;
  }

  /** As walk, from a descriptor or the working directory. */
  private find(dirfd: number, path: string, links = true, followLast = true): string | number {
    const base = dirfd === k.AT_FDCWD ? this.cwd : (this.labels[dirfd] ?? 'nothing');
    if (base.startsWith(DETACHED)) return this.lookUp(`${base}/${path}`) ? `${base}/${path}` : -E.ENOENT;
    if (path === this.facts.target && base.startsWith(HOST)) return this.rootMounted ? '/' : HOST + path;
    if (base.startsWith(HOST) && this.lookUp(`${HOST}${path}`) && path.startsWith(`${this.facts.target}/`))
      return HOST + path;
    return this.walk(base, path, links, followLast);
  }

  private make(dirfd: number, name: string, made: WorldFile): number {
    const folder = this.labels[dirfd] ?? 'nothing';
    if (!folder.startsWith('/')) {
      this.nodes.set(`${folder}/${name}`, made);
      return 0;
    }
    const path = `${folder === '/' ? '' : folder}/${name}`;
    if (this.lookUp(path)) return -E.EEXIST;
    const { mount, rest } = this.within(path);
    mount.made.set(rest, made);
    return 0;
  }

  private fstypeOf(label: string): string {
    if (label.startsWith(DETACHED)) return label.slice(DETACHED.length).replace(/\/.*/, '');
    if (label.startsWith(HOST)) return /^host:\/proc(\/|$)/.test(label) ? 'proc' : 'unknown';
    const { fstype } = this.covering(label);
    return fstype.startsWith(HOST) ? this.fstypeOf(fstype) : fstype;
  }

  private statx(call: RecordedCall): number {
    const [dirfd] = call.args;
    const path = textOf(call, 1);
    if (path === '' && !this.openFds.has(dirfd!)) return -E.EBADF;
    const label = path === '' ? this.labels[dirfd!]! : this.find(dirfd!, path);
    const found = typeof label === 'number' ? undefined : this.lookUp(label);
    if (!found) return typeof label === 'number' ? label : -E.ENOENT;
    const out = call.memory.get(4)!;
    const rdev = found.rdev ?? 0;
    out.writeUInt16LE(found.mode, 28); // stx_mode
    out.writeBigUInt64LE(BigInt(found.size ?? Buffer.byteLength(found.content ?? '')), 40); // stx_size
    out.writeUInt32LE((rdev >> 8) & 0xfff, 128); // stx_rdev_major
    out.writeUInt32LE((rdev & 0xff) | ((rdev >> 12) & 0xfff00), 132); // stx_rdev_minor
    return 0;
  }

  private read(call: RecordedCall): number {
    const fd = call.args[0]!;
    const offset = this.offsets.get(fd) ?? 0;
    const content = Buffer.from(this.lookUp(this.labels[fd]!)?.content ?? '');
    const part = content.subarray(offset, offset + call.args[2]!);
    this.offsets.set(fd, offset + part.length);
    call.memory.get(1)!.set(part);
    return part.length;
  }

  private openat2(call: RecordedCall): number {
    const how = call.memory.get(2)!;
    const links = (how.readUInt32LE(16) & k.RESOLVE_NO_SYMLINKS) === 0;
    const label = this.find(call.args[0]!, textOf(call, 1), links, (how.readUInt32LE(0) & k.O_NOFOLLOW) === 0);
    return typeof label === 'number' ? label : this.open(label);
  }

  private openTree(call: RecordedCall): number {
    const path = textOf(call, 1);
    if (path === '') return this.open(this.labels[call.args[0]!]!);
    const label = this.find(call.args[0]!, path);
    return typeof label === 'number' ? label : this.open(label);
  }

  private readonly answers: Record<string, Answer> = {
    getpid: () => 1,
    umask: () => 0o22,
    setsid: () => 1,
    socket: () => this.open('an inet socket'),
    fcntl: (call) => this.open(this.labels[call.args[0]!] ?? 'nothing', call.args[2]),
    dup3: (call) => {
      const [from, to] = call.args as [number, number];
      this.labels[to] = this.labels[from] ?? 'nothing';
      this.openFds.add(to);
      return to;
    },
    fsopen: (call) => this.open(`context of ${textOf(call, 0)}`),
    fsmount: (call) => this.open(this.labels[call.args[0]!]!.replace('context of ', DETACHED)),
    openat2: (call) => this.openat2(call),
    open_tree: (call) => this.openTree(call),
    move_mount: (call) => {
      const [from, , to] = call.args;
      if (!this.openFds.has(to!)) return -E.EBADF;
      this.mount(this.labels[to!]!, this.labels[from!]!);
      return 0;
    },
    mount: (call) => {
      if (call.memory.has(2)) this.rootMounted = true;
      return 0;
    },
    mkdirat: (call) => this.make(call.args[0]!, textOf(call, 1), directory),
    mknodat: (call) => this.make(call.args[0]!, textOf(call, 1), { mode: call.args[2]!, rdev: call.args[3]! }),
    symlinkat: (call) => this.make(call.args[1]!, textOf(call, 2), { mode: k.S_IFLNK | 0o777, link: textOf(call, 0) }),
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
    prlimit64: (call) => {
      const out = call.memory.get(3);
      if (out)
        for (const [i, limit] of (this.facts.limits?.(call.args[1]!) ?? []).entries())
          out.writeBigUInt64LE(limit, 8 * i);
      return 0;
    },
    pivot_root: () => {
      this.pivoted = true;
      return 0;
    },
    chroot: () => {
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
      const path = textOf(call, 0);
      this.cwd = path.startsWith('/') ? `${this.pivoted ? '' : HOST}${path}` : `${this.cwd}/${path}`;
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
