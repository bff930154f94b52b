/** The way to a stage: a SOCK_SEQPACKET pair, the shared page, and the process at the other end. Host side. */
import { closeSync, readSync } from 'node:fs';
import * as k from '../kernel/constants.ts';
import {
  dataView,
  decodePage,
  decodeReply,
  FRAGMENT_SIZE,
  MAX_DESCRIPTORS,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  type StagePage,
  sizes,
} from '../stage/protocol.ts';
import { type Answer, type HostFd, StageGone, type Wire } from '../stage/stage.ts';
import { failed, rawSyscall, shim, syscall } from './syscall.ts';

export class SocketWire implements Wire {
  private socket: HostFd;
  private readonly pageFd: HostFd;
  private readonly packet = Buffer.alloc(FRAGMENT_SIZE);

  /** Owns both descriptors from now on. */
  constructor(socket: HostFd, pageFd: HostFd) {
    this.socket = socket;
    this.pageFd = pageFd;
  }

  /** Waits for the stage's first packet and checks that both ends speak the same protocol. Returns the stage's pid as it sees itself. */
  handshake(): number {
    const answer = this.receiveReply();
    if (!answer) throw new StageGone(this.page(), undefined);
    const hello = decodeReply(answer.reply);
    if (hello.version !== PROTOCOL_VERSION)
      throw new Error(`the stage speaks protocol ${hello.version}, this is ${PROTOCOL_VERSION}: run "npm run build"`);
    return hello.pid;
  }

  send(frame: Buffer, descriptors: readonly HostFd[]): void {
    const fds = Int32Array.from(descriptors);
    const result = shim('tinyctr_send', [this.socket, frame, frame.length, fds, fds.length]);
    if (result < 0 && result !== -32 /* EPIPE: the end is read below */)
      throw failed('sendmsg', [this.socket, frame], -result);
  }

  exchange(frame: Buffer, descriptors: readonly HostFd[], arrived?: (fd: HostFd) => void): Answer | undefined {
    this.send(frame, descriptors);
    return this.receiveReply(arrived);
  }

  private receiveReply(arrived?: (fd: HostFd) => void): Answer | undefined {
    const received: HostFd[] = [];
    const fds = new Int32Array(MAX_DESCRIPTORS);
    const count = new Int32Array(1);
    const { socket, packet } = this;
    for (;;) {
      const length = shim('tinyctr_receive', [socket, packet, packet.length, fds, MAX_DESCRIPTORS, count]);
      if (length === 0 || length === -104 /* ECONNRESET: it left a packet unread */) return undefined;
      if (length < 0) throw failed('recvmsg', [socket], -length);
      for (const fd of fds.subarray(0, count[0])) arrived ? arrived(fd as HostFd) : received.push(fd as HostFd);
      // A packet of one byte only carries a descriptor; the reply comes after it.
      if (length >= sizes.reply && dataView(packet).getUint32(0, true) === PROTOCOL_MAGIC)
        return { reply: Buffer.from(packet.subarray(0, length)), received };
    }
  }

  branch(fork: (end: HostFd) => number): number {
    const [ours, theirs] = socketPair();
    let unused = ours;
    try {
      const pid = fork(theirs);
      [unused, this.socket] = [this.socket, ours];
      return pid;
    } finally {
      for (const fd of [theirs, unused]) closeSync(fd); // the child's end is its alone then, so that its closing is seen
    }
  }

  page(): StagePage {
    const bytes = Buffer.alloc(sizes.page);
    readSync(this.pageFd, bytes, 0, bytes.length, 0);
    return decodePage(bytes);
  }

  /** Lets go of the stage: an idle one ends. */
  close(): void {
    closeSync(this.socket);
    closeSync(this.pageFd);
  }
}

export function socketPair(): [HostFd, HostFd] {
  const pair = new Int32Array(2);
  syscall('socketpair', [k.AF_UNIX, k.SOCK_SEQPACKET | k.SOCK_CLOEXEC, 0, pair]);
  return [pair[0] as HostFd, pair[1] as HostFd];
}

/** A memfd of this size, close-on-exec; not executable where the kernel can say so. */
export function memfd(name: string, size: number): HostFd {
  let fd = rawSyscall('memfd_create', name, k.MFD_CLOEXEC | k.MFD_NOEXEC_SEAL);
  if (fd === -22) fd = syscall('memfd_create', [name, k.MFD_CLOEXEC]); // before Linux 6.3
  syscall('ftruncate', [fd, size]);
  return fd as HostFd;
}

/** A copy of a program in a memfd sealed against every change, to be executed from there (SEC-01, CVE-2019-5736). */
export function sealedProgram(name: string, bytes: Uint8Array): HostFd {
  const flags = k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING;
  let fd = rawSyscall('memfd_create', name, flags | k.MFD_EXEC);
  const old = fd === -22; // before Linux 6.3: neither MFD_EXEC nor F_SEAL_EXEC
  if (old) fd = syscall('memfd_create', [name, flags]);
  syscall('write', [fd, bytes, bytes.length]);
  const seals = k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE | (old ? 0 : k.F_SEAL_EXEC);
  syscall('fcntl', [fd, k.F_ADD_SEALS, seals]);
  return fd as HostFd;
}
