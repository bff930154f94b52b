/** Raw system calls on the host's side, through the shim. */
import { E, type ErrnoName } from '../kernel/errno.ts';
import { SyscallError } from '../kernel/error.ts';
import { type SyscallName, syscallNumbers } from '../kernel/syscalls.ts';
import { nowMs } from '../stage/stage.ts';
import { type CValue, callC, openLibrary } from './ffi.ts';

/** A string goes to C as UTF-8 with a closing NUL; C reads and writes an Int32Array in place; null is the NULL pointer. */
export type HostArg = CValue | Int32Array | string | null;

/** Where the build put the native parts: native-shim/build, beside dist/ and src/. */
export const nativeFolder = nativePath();
const numberOf = syscallNumbers(process.arch);

function nativePath(): string {
  const root = import.meta.filename.replace(/(\/dist|\/src\/core\/host)?\/[^/]*$/, '');
  return `${root}/native-shim/build`;
}

type HostObserver = (funcName: string, args: readonly HostArg[], result: number, startedMs: number) => void;

/** Somebody who watches this side: told of every call of the shim's after it returned, or before it is made. */
export const hostWatch: { observer?: HostObserver; before?: (funcName: string, args: readonly HostArg[]) => void } = {};

/** A function of native-shim. */
export function shim(funcName: string, args: readonly HostArg[]): number {
  openLibrary('tinyctr', `${nativeFolder}/libtinyctr.so`);
  hostWatch.before?.(funcName, args);
  const started = hostWatch.observer ? nowMs() : 0;
  const result = callC('tinyctr', funcName, args.map(toC));
  hostWatch.observer?.(funcName, args, result, started);
  return result;
}

function toC(arg: HostArg): CValue {
  if (arg === null) return 0;
  if (arg instanceof Int32Array) return new Uint8Array(arg.buffer);
  if (typeof arg !== 'string') return arg;
  if (arg.includes('\0'))
    throw new SyscallError({ syscall: 'open', call: JSON.stringify(arg), errno: E.EINVAL, side: 'host' });
  return Buffer.from(`${arg}\0`);
}

/** The kernel's result: -errno on failure, never thrown. Source: syscall(2). */
export function rawSyscall(name: SyscallName, ...args: HostArg[]): number {
  const padded = [...args];
  while (padded.length < 6) padded.push(0);
  return shim('tinyctr_syscall', [numberOf(name), ...padded]);
}

/** The result, or a SyscallError. An errno named in `tolerated` is returned as -errno. */
export function syscall(name: SyscallName, args: HostArg[], tolerated: readonly ErrnoName[] = []): number {
  const result = rawSyscall(name, ...args);
  if (result < 0 && !tolerated.some((code) => E[code] === -result)) throw failed(name, args, -result);
  return result;
}

export function failed(name: string, args: readonly HostArg[], errno: number): SyscallError {
  const shown = args.map((arg) => {
    if (arg === null) return 'NULL';
    if (typeof arg === 'string') return JSON.stringify(arg);
    return typeof arg === 'object' ? `[${arg.byteLength} bytes]` : String(arg);
  });
  return new SyscallError({ syscall: name, call: `${name}(${shown.join(', ')})`, errno, side: 'host' });
}
