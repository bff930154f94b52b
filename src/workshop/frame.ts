/** A frame to the stage, read back: each call with its arguments as core/stage/stage.ts had them. Pure. */
import * as k from '../core/kernel/constants.ts';
import { type SyscallName, syscallNames, syscallNumbers } from '../core/kernel/syscalls.ts';
import { type Arg, dataView, sizes } from '../core/stage/protocol.ts';

export interface FrameCall {
  name: SyscallName;
  args: Arg[];
}

/** Of struct call: the word with which arguments are pointers (from bit 16) and references (from bit 24), and the first of six arguments. */
const MASKS = 4;
const ARGUMENTS = 8;

interface Place {
  memory: Uint8Array;
  /** All of the call's: integers and offsets. */
  args: readonly number[];
  /** The strings that pointers from here on lead to. */
  strings: () => string[];
}

/** What stands where an argument points to. */
type Kind = (place: Place) => Arg;
type Length = number | ((place: Place) => number);

const lengthOf = (length: Length, place: Place): number => (typeof length === 'number' ? length : length(place));
const cString = (memory: Uint8Array): string => Buffer.from(memory.subarray(0, memory.indexOf(0))).toString();
const argument =
  (index: number, each = 1) =>
  ({ args }: Place) =>
    each * args[index]!;

const int = undefined;
const str: Kind = ({ memory }) => cString(memory);
const strs: Kind = ({ strings }) => ({ strings: strings() });
const bytes =
  (length: Length): Kind =>
  (place) =>
    Uint8Array.from(place.memory.subarray(0, lengthOf(length, place)));
const out =
  (length: Length): Kind =>
  (place) => ({ out: lengthOf(length, place) });
const linked: Kind = () => ({ struct: new Uint8Array(), pointers: [] });

const ioctlSizes: Record<number, number> = { [k.TIOCSPTLCK]: 4, [k.TIOCSWINSZ]: 8, [k.SIOCSIFFLAGS]: 40 };

/**
 * By call: as many as it has arguments, integers or what a pointer leads to. A frame says neither how many there are nor
 * how long memory is; the other arguments or the struct do. test/unit/workshop/frame.test.ts has every call of the stage.
 */
const signatures: { [name in SyscallName]?: readonly (Kind | undefined)[] } = {
  capset: [bytes(8), bytes(24)],
  chdir: [str],
  chroot: [str],
  clone3: [bytes(argument(1)), int],
  close: [int],
  close_range: [int, int, int],
  dup3: [int, int, int],
  execve: [str, strs, strs],
  execveat: [int, str, strs, strs, int],
  fchdir: [int],
  fchmodat: [int, str, int],
  fchownat: [int, str, int, int, int],
  fcntl: [int, int, int],
  fsconfig: [int, int, str, str, int],
  fsmount: [int, int, int],
  fsopen: [str, int],
  fstatfs: [int, out(120)],
  getcwd: [out(argument(1)), int],
  getpid: [],
  ioctl: [int, int, bytes(({ args }) => ioctlSizes[args[1]!] ?? 0)],
  ioprio_set: [int, int, int],
  mkdirat: [int, str, int],
  mknodat: [int, str, int, int],
  mount: [str, str, str, int, str],
  mount_setattr: [int, str, int, bytes(argument(4)), int],
  move_mount: [int, str, int, str, int],
  open_tree: [int, str, int],
  openat2: [int, str, bytes(argument(3)), int],
  personality: [int],
  pivot_root: [str, str],
  prctl: [int, int, int, int, int],
  prlimit64: [int, int, bytes(16), out(16)],
  read: [int, out(argument(2)), int],
  sched_setaffinity: [int, int, bytes(argument(1))],
  sched_setattr: [int, bytes(({ memory }) => dataView(memory).getUint32(0, true)), int],
  seccomp: [int, int, linked],
  sendmsg: [int, linked, int],
  setdomainname: [str, int],
  setgroups: [int, bytes(argument(0, 4))],
  sethostname: [str, int],
  setns: [int, int],
  setresgid: [int, int, int],
  setresuid: [int, int, int],
  setsid: [],
  socket: [int, int, int],
  statx: [int, str, int, int, out(256)],
  symlinkat: [str, int, str],
  umask: [int],
  umount2: [str, int],
  unshare: [int],
  write: [int, str, int],
};

const namesOn: Record<string, Map<number, SyscallName>> = {};

/** By number, on an architecture as Node names it. @throws Error for one that tinyctr does not run on */
export function syscallsByNumber(arch: string): ReadonlyMap<number, SyscallName> {
  const numberOf = syscallNumbers(arch);
  namesOn[arch] ??= new Map(syscallNames().map((name) => [numberOf(name), name]));
  return namesOn[arch];
}

/** Throws for bytes that are no frame. */
export class FrameReader {
  /** Calls in it. */
  readonly count: number;
  private readonly view: DataView;
  private readonly data: Buffer;
  private readonly relocations = new Map<number, number>();
  private readonly names: ReadonlyMap<number, SyscallName>;

  constructor(frame: Buffer, arch: string) {
    this.names = syscallsByNumber(arch);
    this.view = dataView(frame);
    this.count = this.word(8);
    const table = sizes.request + this.count * sizes.call;
    const data = table + this.word(12) * sizes.relocation;
    this.data = frame.subarray(data);
    for (let at = table; at < data; at += sizes.relocation) this.relocations.set(this.word(at), this.word(at + 4));
  }

  private word(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** `results` are those of the calls before it: a descriptor that one of them has made is its result. */
  call(index: number, results: readonly (number | null)[]): FrameCall {
    const at = sizes.request + index * sizes.call;
    const name = this.names.get(this.word(at));
    const signature = name && signatures[name];
    if (!signature) throw new Error(`no arguments of system call ${this.word(at)} are known`);
    const masks = this.word(at + MASKS);
    const values = Array.from({ length: 6 }, (_, i) => Number(this.view.getBigInt64(at + ARGUMENTS + 8 * i, true)));
    const args = values.map((value, i) => (masks & (1 << (24 + i)) ? (results[value] ?? -1) : value));
    const shown = signature.map((kind, i): Arg => {
      const value = args[i]!;
      if (!(masks & (1 << (16 + i)))) return kind && value === 0 && name !== 'ioctl' ? null : value;
      return kind ? kind({ memory: this.data.subarray(value), args, strings: () => this.stringsAt(value) }) : value;
    });
    return { name, args: shown };
  }

  private stringsAt(start: number): string[] {
    const found: string[] = [];
    for (let at = start; this.relocations.has(at); at += 8)
      found.push(cString(this.data.subarray(this.relocations.get(at))));
    return found;
  }
}

/** The calls of a frame that have come back, with their results. Throws for bytes that are no frame. */
export function callsOf(frame: Buffer, results: readonly (number | null)[], arch: string): FrameCall[] {
  const reader = new FrameReader(frame, arch);
  return results.map((_, index) => reader.call(index, results));
}
