/** The supervisor's end of the way to the keeper (native-shim/keeper.c), its parent; the twin of native-shim/keeper.h. */
import { closeSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import type { ExitStatus } from '../core/host/child.ts';
import { rawSyscall, shim, syscall } from '../core/host/syscall.ts';
import type { HostFd } from '../core/stage/stage.ts';
import type { Started } from '../engine/stored.ts';

/** enum what. */
export const orders = { KEEP: 1, FORGET: 2, END_INPUT: 3 } as const;
/** Bytes of struct order and where its fields are; bytes of struct news. */
export const ORDER_SIZE = 24;
export const orderFields = { what: 0, pid: 4, present: 8, max_files: 12, max_size: 16 } as const;
export const NEWS_SIZE = 16;
export const KEEPER_VERSION = 1;
/** enum kept. */
export const keptNames = ['CHILD', 'LOCK', 'LOG_FOLDER', 'OUT', 'ERR', 'IN'] as const;
const CLD_EXITED = 1;
const NO_INPUT = -1;

/** Borrowed: the keeper has its own afterwards. */
export type Kept = Omit<Started, 'pid'>;

export interface LogLimits {
  /** Bytes of a file; 0 is any. */
  maxSize: number;
  /** The current one counted. */
  maxFiles: number;
}

export interface News {
  pid: number;
  /** Undefined: it runs. */
  ended: ExitStatus | undefined;
  /** The keeper's number of the descriptor. */
  input: number | undefined;
}

export interface Listener {
  hear(news: News): void;
  /** Of all that the keeper had when this process began, it has heard. */
  heardAll(): void;
}

export class Keeper {
  private readonly socket: HostFd;
  private readonly pid = process.ppid;
  private rest = Buffer.alloc(0);
  /** How many of those that the keeper had at first are still to be told; undefined: it has said nothing yet. */
  private missing: number | undefined;

  /** `socket`: a SOCK_SEQPACKET; `news`: the read end of a pipe. */
  constructor(socket: HostFd, news: HostFd, listener: Listener) {
    this.socket = socket;
    const stream = new Socket({ fd: news, readable: true, writable: false });
    stream.on('data', (chunk: Buffer) => {
      this.rest = Buffer.concat([this.rest, chunk]);
      for (; this.rest.length >= NEWS_SIZE; this.rest = this.rest.subarray(NEWS_SIZE)) this.take(this.rest, listener);
    });
    stream.on('close', () => process.exit(1)); // nobody would hear of an end any more
  }

  private take(bytes: Buffer, listener: Listener): void {
    if (this.missing === undefined) this.missing = greeted(bytes);
    else {
      listener.hear(decodeNews(bytes));
      this.missing--;
    }
    if (this.missing === 0) listener.heardAll();
  }

  /** From now on it is the keeper's: its output goes into its log, and it is told of its end. */
  keep(pid: number, kept: Kept, limits: LogLimits): void {
    // In the order of enum kept.
    const fds = [kept.child, kept.lock, kept.logFolder, kept.out, kept.err, kept.in];
    const present = fds.reduce<number>((bits, fd, i) => bits | (fd === undefined ? 0 : 1 << i), 0);
    const given = fds.filter((fd) => fd !== undefined);
    this.order({ what: orders.KEEP, pid, present, limits }, given);
  }

  /** The rest of its output is written, all is closed, the process reaped; also one that never became a container. */
  forget(pid: number): void {
    this.order({ what: orders.FORGET, pid }, []);
  }

  /** Its standard input ends, once everybody else has closed it as well. */
  endInput(pid: number): void {
    this.order({ what: orders.END_INPUT, pid }, []);
  }

  private order(
    order: { what: number; pid: number; present?: number; limits?: LogLimits },
    fds: readonly HostFd[],
  ): void {
    const packet = Buffer.alloc(ORDER_SIZE);
    packet.writeUInt32LE(order.what, orderFields.what);
    packet.writeInt32LE(order.pid, orderFields.pid);
    packet.writeUInt32LE(order.present ?? 0, orderFields.present);
    packet.writeUInt32LE(order.limits?.maxFiles ?? 0, orderFields.max_files);
    packet.writeBigUInt64LE(BigInt(order.limits?.maxSize ?? 0), orderFields.max_size);
    const result = shim('tinyctr_send', [this.socket, packet, packet.length, Int32Array.from(fds), fds.length]);
    if (result < 0) throw new Error(`the keeper is gone (errno ${-result})`);
  }

  /** A descriptor of the keeper's, copied: pidfd_getfd(2). Owned by the caller. */
  copy(number: number): HostFd {
    const pidfd = syscall('pidfd_open', [this.pid, 0]) as HostFd;
    const fd = syscall('pidfd_getfd', [pidfd, number, 0]) as HostFd;
    closeSync(pidfd);
    return fd;
  }

  /**
   * Children of the keeper that are nobody's, because an earlier supervisor was killed while it made a container of them: they
   * end when they see that, and are reaped here. Returns how many there were. proc_pid_task_children(5).
   */
  forgetOthers(known: ReadonlySet<number>): number {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'latin1').split(' ').filter(Boolean);
    const others = children.map(Number).filter((child) => child !== process.pid && !known.has(child));
    for (const child of others) this.forget(child);
    return others.length;
  }
}

/** The first of the news: how many are to follow. */
function greeted(bytes: Buffer): number {
  const [version, count] = [bytes.readInt32LE(4), bytes.readInt32LE(8)];
  if (version === KEEPER_VERSION) return count;
  console.error(
    `the keeper, process ${process.ppid}, is of another version of tinyctr (${version}, not ${KEEPER_VERSION}): ` +
      'its containers run on, but only that version can change them. kill ends it, and them.',
  );
  process.exit(1);
}

export function decodeNews(bytes: Buffer): News {
  const [pid, ended, status, input] = [0, 4, 8, 12].map((at) => bytes.readInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  return {
    pid,
    ended: ended === 0 ? undefined : ended === CLD_EXITED ? { exited: status } : { signal: status },
    input: input === NO_INPUT ? undefined : input,
  };
}

/** SO_PEERCRED; unix(7): the uid of who is at the other end. */
export function peerUid(fd: number): number {
  const [SOL_SOCKET, SO_PEERCRED] = [1, 17];
  const credentials = Buffer.alloc(12);
  const length = Int32Array.of(credentials.length);
  if (rawSyscall('getsockopt', fd, SOL_SOCKET, SO_PEERCRED, credentials, length) !== 0) return -1;
  return credentials.readInt32LE(4);
}
