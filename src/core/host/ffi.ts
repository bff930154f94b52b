/**
 * The one importer of ffi-rs: calls the functions of native-shim's shared library. Host side, main thread only (ffi-rs
 * in a worker ends in SIGSEGV when the worker does).
 *
 * The native module is opened directly where it can be: ffi-rs's index.js asks process.report which libc this is, 4 ms.
 */
import { createRequire } from 'node:module';

/** What can be handed to C: an integer (beyond 2^53 only as bigint), or memory that C reads or writes in place. */
export type CValue = number | bigint | Uint8Array;

interface Ffi {
  open(library: { library: string; path: string }): void;
  load(call: Record<string, unknown>): unknown;
}

const I64 = 8;
const I64_BIGINT = 16;
const U8_ARRAY = 10;
const ARRAY_TAG = 997;
const require = createRequire(import.meta.url);
const opened = new Set<string>();
let ffi: Ffi | undefined;

function loadFfi(): Ffi {
  try {
    return require(`@yuuang/ffi-rs-linux-${process.arch}-gnu`) as Ffi;
  } catch {
    return require('ffi-rs') as Ffi; // musl, or a message that names the missing package
  }
}

function cType(value: CValue): unknown {
  if (typeof value === 'number') return I64;
  if (typeof value === 'bigint') return I64_BIGINT;
  return { ffiTypeTag: ARRAY_TAG, type: U8_ARRAY, length: value.length };
}

/** Opens a shared library, found as dlopen(3) finds it. Throws dlopen's message. */
export function openLibrary(name: string, path: string): void {
  if (opened.has(name)) return;
  ffi ??= loadFfi();
  ffi.open({ library: name, path });
  opened.add(name);
}

/** One call of a C function whose parameters and result fit in registers. Memory is borrowed for the time of the call. */
export function callC(library: string, funcName: string, args: readonly CValue[]): number {
  ffi ??= loadFfi();
  return ffi.load({
    library,
    funcName,
    retType: I64,
    paramsType: args.map(cType),
    paramsValue: args,
    freeResultMemory: false,
    runInNewThread: false,
    errno: false,
  }) as number;
}
