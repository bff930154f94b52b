/**
 * Compiled filters, kept on disk: compiling takes 20 ms and more, reading back what was compiled half a millisecond.
 * Host side. What is read is trusted only if it is provably what was written; otherwise the profile is compiled again.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { Seccomp } from '../spec/types.ts';
import { programFault } from './bpf.ts';
import { type CompiledFilter, compileFilter, libseccompIdentity } from './compile.ts';
import { seccompLoadFlags } from './rules.ts';

/** Goes up whenever compileFilter makes another program of the same profile, or the file below changes. */
const FORMAT = 1;
const LARGEST_FILE = 1 << 20;
const OTHERS_CAN_WRITE = 0o022;
const NEWLINE = 10;

/**
 * The filter for a profile, from `cacheFolder` or freshly compiled. The folder is made if need be (0700).
 * Without a folder nothing is read or kept.
 * Throws a ContainerError for a profile that can't be honoured, a missing libseccomp, and a folder that others can change.
 */
export function compiledFilter(seccomp: Seccomp, cacheFolder: string | undefined): CompiledFilter {
  if (cacheFolder === undefined) return compileFilter(seccomp);
  const identity = filterIdentity(seccomp);
  const path = `${cacheFolder}/${shortDigest(identity)}.bpf`;
  const cached = readFilter(path, identity);
  if (cached && isPrivateFolder(cacheFolder)) return { ...cached, loadFlags: seccompLoadFlags(seccomp) };
  const filter = compileFilter(seccomp);
  if (makeFolder(cacheFolder)) writeFilter(path, identity, filter);
  return filter;
}

/** Everything a compiled program depends on, which the agent's address is not. One line. */
function filterIdentity({ listenerPath: _path, listenerMetadata: _metadata, ...seccomp }: Seccomp): string {
  const exact = (_key: string, value: unknown) => (typeof value === 'bigint' ? { bigint: String(value) } : value);
  return JSON.stringify([FORMAT, process.arch, libseccompIdentity(), seccomp], exact);
}

/** 32 bits, FNV-1a over words: it only names the file. Whether the file is the right one, its first line says in full. */
function shortDigest(identity: string): string {
  const bytes = new TextEncoder().encode(`${identity}   `); // the last word is complete
  const words = new Int32Array(bytes.buffer, 0, bytes.length >> 2);
  let digest = 0x811c9dc5;
  for (let index = 0; index < words.length; index++) {
    digest = Math.imul(digest ^ words[index]!, 0x01000193);
    digest ^= digest >>> 15;
  }
  return (digest >>> 0).toString(16).padStart(8, '0');
}

/*
 * The file: identity, newline, the skipped names as JSON, newline, the program; and all of that a second time.
 * Two equal halves show damage as surely as a checksum would, at the speed of memcmp and without loading node:crypto.
 */
function encodeFile(identity: string, { skipped, program }: CompiledFilter): Buffer {
  const body = Buffer.concat([Buffer.from(`${identity}\n${JSON.stringify(skipped)}\n`), program]);
  return Buffer.concat([body, body]);
}

function decodeFile(file: Buffer, identity: string): Omit<CompiledFilter, 'loadFlags'> | undefined {
  const body = file.subarray(0, file.length / 2);
  if (!file.subarray(body.length).equals(body)) return undefined;
  const firstLine = Buffer.from(`${identity}\n`);
  if (!body.subarray(0, firstLine.length).equals(firstLine)) return undefined;
  const end = body.indexOf(NEWLINE, firstLine.length);
  const program = body.subarray(end + 1);
  if (end < 0 || programFault(program) !== undefined) return undefined;
  return { program, skipped: JSON.parse(body.toString('utf8', firstLine.length, end)) as string[] };
}

/** Whatever is wrong with the file, the answer is the same: not here. */
function readFilter(path: string, identity: string): Omit<CompiledFilter, 'loadFlags'> | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { uid, mode, size } = fstatSync(fd);
    const isRegular = (mode & constants.S_IFMT) === constants.S_IFREG;
    if (!isRegular || uid !== process.geteuid!() || mode & OTHERS_CAN_WRITE || size > LARGEST_FILE) return undefined;
    const file = Buffer.allocUnsafeSlow(size);
    return readSync(fd, file) === size ? decodeFile(file, identity) : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Complete or not there: a reader never sees half a file. A disk that is full or read-only costs the next start 20 ms. */
function writeFilter(path: string, identity: string, filter: CompiledFilter): void {
  const temporary = `${path}.${process.pid}`;
  try {
    rmSync(temporary, { force: true, recursive: true });
    writeFileSync(temporary, encodeFile(identity, filter), { mode: 0o600, flag: 'wx' });
    rmSync(path, { force: true, recursive: true }); // a directory in its place would stop the rename
    renameSync(temporary, path);
  } catch {
    rmSync(temporary, { force: true });
  }
}

/** Half-written files of dead processes. The others are kept: any of them may be the next container's. */
export function deadFilters(cacheFolder: string): string[] {
  if (!existsSync(cacheFolder)) return [];
  return readdirSync(cacheFolder).filter((name) => {
    const pid = /\.bpf\.([0-9]+)$/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
}

/** False if there can be no folder. */
function makeFolder(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch {
    return false;
  }
  return isPrivateFolder(folder);
}

/** A folder that somebody else can change is no accident: refused aloud, not worked around. */
function isPrivateFolder(folder: string): boolean {
  const stat = lstatSync(folder);
  if (stat.isDirectory() && stat.uid === process.geteuid!() && !(stat.mode & OTHERS_CAN_WRITE)) return true;
  const mode = `0${(stat.mode & 0o7777).toString(8)}`;
  const found = stat.isDirectory() ? `belongs to uid ${stat.uid}, mode ${mode}` : 'is not a directory';
  throw new ContainerError(
    `${folder} ${found}: compiled seccomp filters are kept only where nobody but uid ${process.geteuid!()} can write`,
    { hint: `remove ${folder}; it is made again` },
  );
}
