/** What Node changes in the host's file system, in words: a function of node:fs as the system call that it is. Pure. */
import { constants } from 'node:fs';

/** Data of which only its length was kept. */
export type FileArg = string | number | null | { length: number };

const quoted = (path: FileArg | undefined): string => JSON.stringify(String(path));
const octal = (mode: FileArg | undefined): string => `0${Number(mode).toString(8)}`;
const data = (arg: FileArg | undefined): string =>
  typeof arg === 'object' && arg !== null ? `[${arg.length} bytes]` : JSON.stringify(String(arg));

const { O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY } = constants;
const letters: Record<string, number> = {
  ...{ r: 0, 'r+': O_RDWR, w: O_WRONLY | O_CREAT | O_TRUNC, wx: O_WRONLY | O_CREAT | O_EXCL | O_TRUNC },
  ...{ a: O_WRONLY | O_CREAT | O_APPEND, 'w+': O_RDWR | O_CREAT | O_TRUNC, 'wx+': O_RDWR | O_CREAT | O_EXCL | O_TRUNC },
};
const flagNames = Object.entries({ O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY });

function openText(path: FileArg | undefined, flags: FileArg, mode: FileArg): string {
  const bits = typeof flags === 'number' ? flags : (letters[String(flags)] ?? 0);
  const names = flagNames.flatMap(([name, bit]) => ((bits & bit) === bit ? [name] : []));
  return `AT_FDCWD, ${quoted(path)}, ${names.join('|') || 'O_RDONLY'}${bits & O_CREAT ? `, ${octal(mode)}` : ''}`;
}

/** By function of node:fs: the system call, and its arguments as they are shown. */
const functions: Record<string, readonly [name: string, shown: (args: readonly FileArg[]) => string]> = {
  mkdirSync: ['mkdir', ([path, mode]) => `${quoted(path)}, ${octal(mode ?? 0o777)}`],
  rmdirSync: ['rmdir', ([path]) => quoted(path)],
  rmSync: ['rm', ([path]) => quoted(path)],
  unlinkSync: ['unlink', ([path]) => quoted(path)],
  renameSync: ['rename', ([from, to]) => `${quoted(from)}, ${quoted(to)}`],
  symlinkSync: ['symlink', ([target, path]) => `${quoted(target)}, ${quoted(path)}`],
  chmodSync: ['chmod', ([path, mode]) => `${quoted(path)}, ${octal(mode)}`],
  chownSync: ['chown', ([path, uid, gid]) => `${quoted(path)}, ${uid}, ${gid}`],
  fchownSync: ['fchown', ([fd, uid, gid]) => `${fd}, ${uid}, ${gid}`],
  writeFileSync: ['write', ([path, text]) => `${quoted(path)}, ${data(text)}`],
  openSync: ['openat', ([path, flags, mode]) => openText(path, flags ?? 'r', mode ?? 0o666)],
  writeSync: ['write', ([path, text]) => `${quoted(path)}, ${data(text)}`],
};

/** Undefined for a function that no trace has. */
export function fileCall(name: string, args: readonly FileArg[]): { name: string; call: string } | undefined {
  const known = functions[name];
  return known && { name: known[0], call: `${known[0]}(${known[1](args)})` };
}
