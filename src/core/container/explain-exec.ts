/**
 * Why execve failed although the file is there (E1, E2, E3): follows the file, its #! line and its ELF loader as the
 * kernel does, and names the first thing that is wrong. Host side; every file is opened below /proc/PID/root by openat2.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { type MountInfo, readMountinfo } from '../host/mountinfo.ts';
import { syscall } from '../host/syscall.ts';
import * as k from '../kernel/constants.ts';
import { openHow } from '../kernel/structs.ts';
import { hostMachine, loaders, machineName, type ReadAt, readElf } from './explain-elf.ts';
import { mountPlace } from './explain-mount.ts';

/** `text` goes on with a sentence that names the file. */
export interface ExecFault {
  text: string;
  hint?: string | undefined;
}

/** What the process that failed to execute sees, and may. */
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

/** So many #! lines the kernel follows. */
const MAX_DEPTH = 5;
/** So much of a file the kernel looks at to find out what it is: BINPRM_BUF_SIZE. */
const HEAD_SIZE = 256;

/** Undefined if nothing is wrong that can be seen from here. Throws when the process is gone. */
export function findExecFault(path: string, code: string, cwd: string, pid: number): ExecFault | undefined {
  const root = openSync(`/proc/${pid}/root`, k.O_PATH | k.O_DIRECTORY);
  try {
    return fileFault({ root, cwd, code, mounts: readMountinfo(pid), ...readIdentity(pid) }, path, 0);
  } finally {
    closeSync(root);
  }
}

function readIdentity(pid: number): Pick<View, 'uid' | 'gids' | 'override'> {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const words = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)![1]!.trim().split(/\s+/);
  const gids = [words('Gid')[1]!, ...words('Groups')].filter(Boolean).map(Number);
  return { uid: Number(words('Uid')[1]), gids, override: (BigInt(`0x${words('CapEff')[0]}`) & 2n) !== 0n };
}

/** An O_PATH descriptor, or a negative number: links lead nowhere outside of the root, and to no descriptor of ours. */
function openInRoot({ root, cwd }: View, path: string): number {
  const how = openHow(k.O_PATH | k.O_CLOEXEC, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
  const absolute = path.startsWith('/') ? path : `${cwd}/${path}`;
  return syscall('openat2', [root, absolute, how, how.length], ['ENOENT', 'ENOTDIR']);
}

function fileFault(view: View, path: string, depth: number): ExecFault | undefined {
  const it = depth === 0 ? 'it' : 'which';
  const fd = openInRoot(view, path);
  if (fd < 0) return { text: `${it} does not exist` };
  try {
    const fault = folderFault(view, path) ?? accessFault(view, fd, path);
    if (fault) return { ...fault, text: `${it} ${fault.text}` };
    const file = openSync(`/proc/self/fd/${fd}`, k.O_RDONLY | k.O_NONBLOCK);
    try {
      return contentFault(view, file, path, depth);
    } finally {
      closeSync(file);
    }
  } finally {
    closeSync(fd);
  }
}

/** A folder on the way that this user may not pass. */
function folderFault(view: View, path: string): ExecFault | undefined {
  const parts = path.split('/');
  for (let i = 1; i < parts.length; i++) {
    const folder = parts.slice(0, i).join('/') || '/';
    const fd = openInRoot(view, folder);
    if (fd < 0) return undefined;
    const refusal = refused(view, fd);
    closeSync(fd);
    if (refusal) return { text: `lies below ${folder}, whose ${refusal}` };
  }
  return undefined;
}

function accessFault(view: View, fd: number, path: string): ExecFault | undefined {
  const { mode } = fstatSync(fd);
  if ((mode & k.S_IFMT) !== k.S_IFREG)
    return { text: (mode & k.S_IFMT) === k.S_IFDIR ? 'is a directory' : 'is not a regular file' };
  const { mountId } = mountPlace(fd);
  const mount = view.mounts.find(({ id }) => id === mountId);
  if (mount?.options.includes('noexec'))
    return {
      text: `lies on a mount with noexec: ${mount.mountPoint} (${mount.fstype})`,
      hint: mount.fstype === 'tmpfs' ? `--tmpfs ${mount.mountPoint}:exec` : undefined,
    };
  const refusal = refused(view, fd);
  if (!refusal) return undefined;
  return (mode & 0o111) === 0
    ? { text: `has no x in its ${refusal}`, hint: `chmod +x ${path}` }
    : { text: `can't be executed: its ${refusal}` };
}

/** Source: path_resolution(7), "Permissions". */
function refused({ uid, gids, override }: View, fd: number): string | undefined {
  const { mode, uid: owner, gid: group } = fstatSync(fd);
  const own = owner === uid ? 0o100 : gids.includes(group) ? 0o010 : 0o001;
  const enough = override ? ((mode & k.S_IFMT) === k.S_IFDIR ? mode | 0o111 : mode & 0o111) : mode & own;
  if (enough !== 0) return undefined;
  return `mode is 0${(mode & 0o7777).toString(8)}, owner ${owner}:${group}; the process is ${uid}:${gids[0]}`;
}

function contentFault(view: View, file: number, path: string, depth: number): ExecFault | undefined {
  const read: ReadAt = (offset, length) => {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
  };
  const head = read(0, HEAD_SIZE);
  if (head.toString('latin1', 0, 2) === '#!') return scriptFault(view, head, path, depth);
  if (head.toString('latin1', 0, 4) === '\x7fELF') return elfFault(view, read, depth);
  return view.code === 'ENOEXEC'
    ? { ...formatFault(head), text: `${depth === 0 ? 'it' : 'which'} ${formatFault(head).text}` }
    : undefined;
}

/** Source: execve(2), "Interpreter scripts". */
function scriptFault(view: View, head: Buffer, path: string, depth: number): ExecFault | undefined {
  const its = depth === 0 ? 'its' : 'whose';
  const interpreter = /^#![ \t]*([^ \t\n\0]*)/.exec(head.toString())![1]!;
  if (interpreter === '' || interpreter === '\r') return { text: `${its} #! line names no interpreter` };
  if (depth === MAX_DEPTH) return { text: `${its} #! line is one too many: the kernel follows ${MAX_DEPTH}` };
  const fault = fileFault(view, interpreter, depth + 1);
  if (!fault || !interpreter.endsWith('\r'))
    return fault && { ...fault, text: `${its} #! line names ${JSON.stringify(interpreter)}, ${fault.text}` };
  return {
    text: `${its} #! line ends in CRLF, so that the kernel looks for ${JSON.stringify(interpreter)}`,
    hint: `the file has the line ends of Windows: sed -i 's/\\r$//' ${path}`,
  };
}

function elfFault(view: View, read: ReadAt, depth: number): ExecFault | undefined {
  const it = depth === 0 ? 'it' : 'which';
  const elf = readElf(read)!;
  if (elf.cut) return { text: `${it} is an ELF file that ends too early: a copy that was cut off` };
  if (elf.type !== 2 && elf.type !== 3) return { text: `${it} is an ELF file of type ${elf.type}, not a program` };
  if (elf.machine !== hostMachine && view.code !== 'ENOENT')
    return {
      text: `${it} is a program for ${machineName(elf.machine)}, this host is ${machineName(hostMachine)}`,
      hint: `take an image for linux/${machineName(hostMachine)}`,
    };
  if (!elf.loader || depth > 1) return undefined;
  const fault = fileFault(view, elf.loader, depth + 1);
  if (!fault) return undefined;
  const other = Object.entries(loaders).find(([, loader]) => loader !== elf.loader && exists(view, loader));
  return {
    text: `${depth === 0 ? 'its' : 'whose'} ELF loader is ${JSON.stringify(elf.loader)}, ${fault.text}`,
    hint: other && `the container has ${other[0]} (${other[1]}), the program was linked with another C library`,
  };
}

function exists(view: View, path: string): boolean {
  const fd = openInRoot(view, path);
  if (fd >= 0) closeSync(fd);
  return fd >= 0;
}

function formatFault(head: Buffer): ExecFault {
  if (head.length === 0) return { text: 'is empty' };
  if (head.toString('latin1', 0, 5) === '\xef\xbb\xbf#!')
    return { text: 'has a byte order mark in front of its #! line' };
  if (!/[^\t\n\r\x20-\x7e]/.test(head.toString('latin1')))
    return { text: 'has no #! line', hint: 'its first line must name the interpreter, such as #!/bin/sh' };
  return {
    text: `is neither an ELF program nor a script: it begins with the bytes ${head.subarray(0, 4).toString('hex')}`,
  };
}
