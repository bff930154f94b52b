/** What a caller hands on or wants to be told: extra descriptors, the terminal's socket, the pid file. Host side. */
import { closeSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { shim, syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { ContainerError, SyscallError } from '../core/kernel/error.ts';
import type { HostFd } from '../core/stage/stage.ts';

const MOST_PRESERVED = 16;

/** 3 and up, as many as --preserve-fds says. One that is not open could be Node's own, which has come to have its number. */
export function preservedFds(count: number): HostFd[] {
  if (count > MOST_PRESERVED)
    throw new ContainerError(`--preserve-fds is ${count}; allowed are 0 to ${MOST_PRESERVED}`);
  return Array.from({ length: count }, (_, i) => {
    const fd = 3 + i;
    if (/^anon_inode:\[(event|io_uring)/.test(linkOf(fd)) || linkOf(fd) === '')
      throw new ContainerError(`--preserve-fds is ${count}, but preserved-fd ${i}, descriptor ${fd}, is not open`);
    return fd as HostFd;
  });
}

function linkOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

/** Written under another name first: whoever waits for the file finds the pid in it. */
export function writePidFile(path: string, pid: number): void {
  const young = `${dirname(path)}/.${basename(path)}`;
  writeFileSync(young, String(pid), { mode: 0o644 });
  renameSync(young, path);
}

export interface ConsoleSocket {
  /** SCM_RIGHTS of the terminal's master end; unix(7). Closes it and the socket. */
  send(master: HostFd): void;
}

/** A terminal outlives the caller only if somebody else gets its master end. */
export function consoleFor(terminal: boolean, leave: boolean, path: string | undefined): ConsoleSocket | undefined {
  if (terminal && leave && path === undefined)
    throw new ContainerError('process.terminal is true, and nobody attends the process: use --console-socket', {
      specPointer: '/process/terminal',
    });
  if (!(terminal && leave) && path !== undefined)
    throw new ContainerError(
      leave
        ? '--console-socket is there, but process.terminal is not true'
        : '--console-socket is for a process that nobody attends: it goes with --detach',
      { specPointer: '/process/terminal' },
    );
  return path === undefined ? undefined : connectConsole(path);
}

/** Connected before anything is made: nobody there is an error at once. */
function connectConsole(path: string): ConsoleSocket {
  const socket = connectSocket(path, `--console-socket ${path}`);
  return {
    send(master) {
      sendDescriptor(socket, '/dev/console', master);
      closeSync(master);
      closeSync(socket);
    },
  };
}

/** Sends a pidfd of the process to who asked for it, and closes the socket. Connected before anything is made. */
export function pidfdReceiver(path: string | undefined): ((pidfd: HostFd) => void) | undefined {
  if (path === undefined) return undefined;
  const socket = connectSocket(path, `--pidfd-socket ${path}`);
  return (pidfd) => {
    sendDescriptor(socket, 'pidfd', pidfd);
    closeSync(socket);
  };
}

/** A stream to whoever listens at `path`, owned by the caller. `name` is what the user knows it by. */
export function connectSocket(path: string, name: string, specPointer?: string): HostFd {
  const bytes = Buffer.from(path);
  const at = { specPointer };
  if (bytes.length > 107) throw new ContainerError(`${name} is longer than the 107 bytes of unix(7)`, at);
  const socket = syscall('socket', [k.AF_UNIX, k.SOCK_STREAM | k.SOCK_CLOEXEC, 0]) as HostFd;
  const address = Buffer.alloc(110); // struct sockaddr_un { sa_family_t sun_family; char sun_path[108]; }
  address.writeUInt16LE(k.AF_UNIX, 0);
  bytes.copy(address, 2);
  try {
    syscall('connect', [socket, address, address.length]);
    return socket;
  } catch (error) {
    closeSync(socket);
    throw new ContainerError(`failed to connect with ${name}: nobody listens there`, { ...at, cause: error });
  }
}

/** SCM_RIGHTS, unix(7): a copy of `fd` with `text`. */
export function sendDescriptor(socket: HostFd, text: string, fd: HostFd): void {
  const bytes = Buffer.from(text);
  const fds = Buffer.from(new Int32Array([fd]).buffer);
  const result = shim('tinyctr_send', [socket, bytes, bytes.length, fds, 1]);
  if (result < 0) throw new SyscallError({ syscall: 'sendmsg', call: 'sendmsg()', errno: -result, side: 'host' });
}
