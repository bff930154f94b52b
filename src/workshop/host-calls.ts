/** Calls of the host's side for people: what goes through the shim of src/core/host, as strace would print it. Pure. */
import * as k from '../core/kernel/constants.ts';
import { deviceProgramInWords } from './device-words.ts';
import { syscallsByNumber } from './frame.ts';
import { constantName, flagNames } from './strace.ts';

/** As a trace keeps it: memory of which nothing is shown is only its length. */
export type HostArg = number | string | null | Uint8Array | Int32Array | { byteLength: number };
export type HostArgs = readonly HostArg[];

interface HostCall {
  name: string;
  /** As strace prints it. */
  call: string;
  /** What a program that goes to the kernel says. */
  words?: readonly string[];
}

/** `arch`: whose numbers system calls have. */
export function hostCall(funcName: string, args: HostArgs, arch: string): HostCall {
  const own = shimCalls[funcName];
  if (own) {
    const words = funcName === 'tinyctr_bpf_prog_load' ? { words: deviceProgramInWords(args[1] as Uint8Array) } : {};
    return { name: own.name, call: `${own.name}(${own.shown(args)})`, ...words };
  }
  if (funcName !== 'tinyctr_syscall') return { name: funcName, call: `${funcName}(${args.map(shownArg).join(', ')})` };
  const name = syscallsByNumber(arch).get(Number(args[0])) ?? `syscall_${args[0]}`;
  const formats = kernelCalls[name];
  const rest = args.slice(1, 1 + (formats?.length ?? 6));
  return { name, call: `${name}(${rest.map((arg, i) => formats?.[i]?.(arg, rest) ?? shownArg(arg)).join(', ')})` };
}

function shownArg(arg: HostArg): string {
  if (arg === null) return 'NULL';
  if (typeof arg === 'string') return JSON.stringify(arg);
  return typeof arg === 'object' ? `[${arg.byteLength} bytes]` : String(arg);
}

const wordAt = (memory: HostArg, at: number): number => {
  const { buffer, byteOffset } = memory as Uint8Array;
  return new DataView(buffer, byteOffset).getUint32(at, true);
};
const rights = (fds: HostArg | undefined): string =>
  (fds as Int32Array).length > 0 ? `, SCM_RIGHTS=[${[...(fds as Int32Array)].join(', ')}]` : '';

/** The functions of native-shim/shim.c; each is one system call, or a few that belong together. Of messages a trace keeps socket, length and descriptors. */
const shimCalls: Record<string, { name: string; shown: (args: HostArgs) => string }> = {
  tinyctr_spawn: {
    name: 'clone3',
    shown: ([flags, cgroup]) =>
      `{flags=${cloneFlags(Number(flags), Number(cgroup) >= 0)}${Number(cgroup) >= 0 ? `, cgroup=${cgroup}` : ''}}`,
  },
  tinyctr_send: { name: 'sendmsg', shown: ([socket, length, fds]) => `${socket}, {${length} bytes${rights(fds)}}` },
  tinyctr_receive: { name: 'recvmsg', shown: ([socket, length, fds]) => `${socket}, {${length} bytes${rights(fds)}}` },
  tinyctr_bpf_prog_load: {
    name: 'bpf',
    shown: ([, , count]) => `BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt=${count}}`,
  },
};

/** As tinyctr_spawn makes it. */
export function cloneFlags(namespaces: number, cgroup: boolean): string {
  const names = flagNames('CLONE_NEW', BigInt(namespaces), '');
  const always = 'CLONE_PIDFD|CLONE_VFORK|CLONE_VM|CLONE_CLEAR_SIGHAND';
  return [names, cgroup ? 'CLONE_INTO_CGROUP' : '', always].filter((text) => text !== '').join('|');
}

type Show = (arg: HostArg, args: readonly HostArg[]) => string;

const flags =
  (prefix: string): Show =>
  (arg) =>
    flagNames(prefix, BigInt(Number(arg)));
const oneOf =
  (prefix: string): Show =>
  (arg) =>
    constantName(prefix, Number(arg)) ?? String(arg);
const dirfd: Show = (arg) => (arg === k.AT_FDCWD ? 'AT_FDCWD' : shownArg(arg));
const octal: Show = (arg) => `0${Number(arg).toString(8)}`;
const device: Show = (arg) => String(arg);
const sockets: Show = (arg) => {
  const type = Number(arg) & 0xf;
  const name = Object.entries({
    SOCK_STREAM: k.SOCK_STREAM,
    SOCK_SEQPACKET: k.SOCK_SEQPACKET,
    SOCK_DGRAM: k.SOCK_DGRAM,
  });
  const rest = Number(arg) & k.SOCK_CLOEXEC ? '|SOCK_CLOEXEC' : '';
  return `${name.find(([, value]) => value === type)?.[0] ?? type}${rest}`;
};
const lock: Show = (arg) => ({ 2: 'LOCK_EX', 6: 'LOCK_EX|LOCK_NB', 8: 'LOCK_UN' })[Number(arg)] ?? String(arg);
const fcntlArg: Show = (arg, [, command]) =>
  command === k.F_ADD_SEALS
    ? flagNames('F_SEAL_', BigInt(Number(arg)))
    : command === k.F_SETFL
      ? octal(arg, [])
      : String(arg);
const commands: Record<number, string> = {
  [k.F_GETFL]: 'F_GETFL',
  [k.F_SETFL]: 'F_SETFL',
  [k.F_ADD_SEALS]: 'F_ADD_SEALS',
  [k.F_DUPFD_CLOEXEC]: 'F_DUPFD_CLOEXEC',
};
const fcntlCommand: Show = (arg) => commands[Number(arg)] ?? String(arg);
const request: Show = (arg) =>
  ['TC', 'TIOC', 'NS_'].map((prefix) => constantName(prefix, Number(arg))).find((name) => name) ?? String(arg);
const bpfAttr: Show = (attr) => {
  const [target, program] = [0, 4].map((at) => wordAt(attr, at));
  return `{target_fd=${target}, attach_bpf_fd=${program}, attach_type=BPF_CGROUP_DEVICE, attach_flags=BPF_F_ALLOW_MULTI}`;
};
const text: Show = (arg) => shownArg(arg);
/** A path that went as bytes. */
const bytesPath: Show = (arg) =>
  arg instanceof Uint8Array ? JSON.stringify(Buffer.from(arg).toString().replace(/\0$/, '')) : shownArg(arg);
const pair: Show = (arg) => (arg instanceof Int32Array ? `[${[...arg].join(', ')}]` : shownArg(arg));

/** As many as the call has arguments. */
const kernelCalls: Record<string, readonly Show[]> = {
  bpf: [() => 'BPF_PROG_ATTACH', bpfAttr, text],
  connect: [text, text, text],
  fcntl: [text, fcntlCommand, fcntlArg],
  fgetxattr: [text, bytesPath, text, text],
  flock: [text, lock],
  fsconfig: [text, oneOf('FSCONFIG_'), text, text, text],
  fsmount: [text, flags('FSMOUNT_'), flags('MOUNT_ATTR_')],
  fsopen: [text, flags('FSOPEN_')],
  ftruncate: [text, text],
  getdents64: [text, text, text],
  ioctl: [text, request, text],
  memfd_create: [text, flags('MFD_')],
  mknodat: [dirfd, bytesPath, octal, device],
  mount_setattr: [text, text, flags('AT_'), text, text],
  open_tree: [dirfd, text, flags('OPEN_TREE_')],
  openat: [dirfd, bytesPath, flags('O_'), octal],
  openat2: [dirfd, bytesPath, text, text],
  pidfd_open: [text, text],
  pidfd_send_signal: [text, oneOf('SIG'), text, text],
  pipe2: [pair, flags('O_')],
  ppoll: [text, text, text, text, text],
  prctl: [oneOf('PR_'), text, text, text, text],
  renameat2: [text, bytesPath, text, bytesPath, text],
  sched_getaffinity: [text, text, text],
  sched_setaffinity: [text, text, text],
  setns: [text, flags('CLONE_NEW')],
  socket: [oneOf('AF_'), sockets, text],
  socketpair: [oneOf('AF_'), sockets, text, pair],
  statx: [dirfd, text, flags('AT_'), text, text],
  unlinkat: [text, bytesPath, text],
  waitid: [oneOf('P_'), text, text, flags('W'), text],
  write: [text, text, text],
};
