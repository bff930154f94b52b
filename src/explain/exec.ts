/**
 * Why execve failed although the file is there (E1, E2, E3): follows the file, its #! line and its ELF loader as the
 * kernel does, and names the first thing that is wrong. Host side; every file is opened below /proc/PID/root by openat2.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { type MountInfo, readMountinfo } from '../core/host/mountinfo.ts';
import { syscall } from '../core/host/syscall.ts';
import * as k from '../core/kernel/constants.ts';
import { openHow } from '../core/kernel/structs.ts';
import { hostMachine, loaders, machineName, type ReadAt, readElf } from './elf.ts';
import { mountPlace } from './mount.ts';

/** `text` ends a sentence that began with the file's name. */
export interface Fault {
  text: string;
  hint?: string | undefined;
}

/** What the process that could not execute sees, and may. */
interface View {
  /** The container's root, O_PATH. */
  root: number;
  cwd: string;
  /** The errno's name. */
  code: string;
  mounts: MountInfo[];
  uid: number;
  gids: number[];
  /** CAP_DAC_OVERRIDE. */
  override: boolean;
}

/** So many interpreters of interpreters the kernel follows. */
const MAX_DEPTH = 5;
/** So much of a file it looks at to find out what it is: BINPRM_BUF_SIZE. */
const HEAD_SIZE = 256;

/** Undefined if nothing is wrong that can be seen from here. Throws when the process is gone. */
export function findExecFault(path: string, code: string, cwd: string, pid: number): Fault | undefined {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const words = (name: string) => new RegExp(`^${name}:[ \t]*(.*)$`, 'm').exec(status)![1]!.trim().split(/\s+/);
  const gids = [words('Gid')[1]!, ...words('Groups')].filter(Boolean).map(Number);
  const override = (BigInt(`0x${words('CapEff')[0]}`) & 2n) !== 0n;
  const root = openSync(`/proc/${pid}/root`, k.O_PATH | k.O_DIRECTORY);
  const view = { root, cwd, code, mounts: readMountinfo(pid), uid: Number(words('Uid')[1]), gids, override };
  try {
    return fileFault(view, path, 0);
  } finally {
    closeSync(root);
  }
}

/** Does `use` with an O_PATH descriptor: links lead nowhere outside of the root, and to no descriptor of ours. */
function inRoot<T>({ root, cwd }: View, path: string, use: (fd: number) => T): T | undefined {
  const how = openHow(k.O_PATH | k.O_CLOEXEC, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
  const absolute = path.startsWith('/') ? path : `${cwd}/${path}`;
  const fd = syscall('openat2', [root, absolute, how, how.length], ['ENOENT', 'ENOTDIR']);
  if (fd < 0) return undefined;
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function fileFault(view: View, path: string, depth: number): Fault | undefined {
  const [it, its] = depth === 0 ? ['it', 'its'] : ['which', 'whose'];
  const found = inRoot(view, path, (fd): { fault: Fault | undefined } => {
    const fault = accessFault(view, path, fd);
    if (fault) return { fault: { ...fault, text: `${it} ${fault.text}` } };
    const file = openSync(`/proc/self/fd/${fd}`, k.O_RDONLY | k.O_NONBLOCK);
    const read: ReadAt = (offset, length) => {
      const bytes = Buffer.alloc(length);
      readSync(file, bytes, 0, length, offset);
      return bytes;
    };
    try {
      const head = read(0, Math.min(HEAD_SIZE, fstatSync(file).size));
      if (head.toString('latin1', 0, 2) === '#!') return { fault: scriptFault(view, head, path, its, depth) };
      if (head.toString('latin1', 0, 4) === '\x7fELF') return { fault: elfFault(view, read, it, its, depth) };
      return { fault: view.code === 'ENOEXEC' ? formatFault(head, it) : undefined };
    } finally {
      closeSync(file);
    }
  });
  return found ? found.fault : { text: `${it} does not exist` };
}

function accessFault(view: View, path: string, fd: number): Fault | undefined {
  const type = fstatSync(fd).mode & k.S_IFMT;
  if (type !== k.S_IFREG) return { text: type === k.S_IFDIR ? 'is a directory' : 'is not a regular file' };
  const { mountId } = mountPlace(fd);
  const mount = view.mounts.find(({ id }) => id === mountId);
  if (mount?.options.includes('noexec')) {
    const hint = mount.fstype === 'tmpfs' ? `--tmpfs ${mount.mountPoint}:exec` : undefined;
    return { text: `lies on a mount with noexec: ${mount.mountPoint} (${mount.fstype})`, hint };
  }
  const parts = path.split('/');
  for (let i = 1; i <= parts.length; i++) {
    const part = parts.slice(0, i).join('/') || '/';
    const refusal = inRoot(view, part, (at) => refused(view, at));
    if (refusal) return { text: `can't be executed: the mode of ${part} is ${refusal}` };
  }
  return undefined;
}

/** Source: path_resolution(7), "Permissions". */
function refused({ uid, gids, override }: View, fd: number): string | undefined {
  const { mode, uid: owner, gid: group } = fstatSync(fd);
  const own = owner === uid ? 0o100 : gids.includes(group) ? 0o010 : 0o001;
  const enough = override ? (mode & k.S_IFMT) === k.S_IFDIR || mode & 0o111 : mode & own;
  return enough ? undefined : `0${(mode & 0o7777).toString(8)} (${owner}:${group}), the process is ${uid}:${gids[0]}`;
}

/** Source: execve(2), "Interpreter scripts". */
function scriptFault(view: View, head: Buffer, path: string, its: string, depth: number): Fault | undefined {
  const interpreter = /^#![ \t]*([^ \t\n\0]*)/.exec(head.toString())![1]!;
  if (interpreter.trim() === '') return { text: `${its} #! line names no interpreter` };
  const fault = depth < MAX_DEPTH ? fileFault(view, interpreter, depth + 1) : { text: 'one interpreter too many' };
  if (!fault) return undefined;
  const text = `${its} #! line names ${JSON.stringify(interpreter)}, ${fault.text}`;
  if (!interpreter.endsWith('\r')) return { ...fault, text };
  return { text, hint: `its lines end in CRLF, as on Windows: sed -i 's/\\r$//' ${path}` };
}

function elfFault(view: View, read: ReadAt, it: string, its: string, depth: number): Fault | undefined {
  const { type, machine, loader } = readElf(read);
  const host = machineName(hostMachine);
  if (machine !== hostMachine && view.code !== 'ENOENT')
    return {
      text: `${it} is a program for ${machineName(machine)}, this host is ${host}`,
      hint: `take an image for linux/${host}`,
    };
  if (type !== 2 && type !== 3) return { text: `${it} is an ELF file of type ${type}, not a program` };
  const fault = loader && depth < MAX_DEPTH ? fileFault(view, loader, MAX_DEPTH) : undefined;
  if (!fault) return view.code === 'ENOEXEC' && depth < MAX_DEPTH ? { text: `${it} is a damaged ELF file` } : undefined;
  const other = Object.entries(loaders).find(([, file]) => file !== loader && !fileFault(view, file, MAX_DEPTH));
  const hint = other && `the container has ${other[0]} (${other[1]}): the program was linked with another C library`;
  return { text: `${its} ELF loader is ${JSON.stringify(loader)}, ${fault.text}`, hint };
}

function formatFault(head: Buffer, it: string): Fault {
  if (head.length === 0) return { text: `${it} is empty` };
  if (/[^\t\n\r\x20-\x7e]/.test(head.toString('latin1')))
    return {
      text: `${it} is neither an ELF program nor a script: it begins with the bytes ${head.toString('hex', 0, 4)}`,
    };
  return { text: `${it} has no #! line`, hint: 'its first line must name the interpreter, such as #!/bin/sh' };
}
