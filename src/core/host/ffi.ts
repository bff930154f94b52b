/**
 * The one importer of ffi-rs: calls the functions of native-shim's shared library. Host side, main thread only (ffi-rs
 * in a worker ends in SIGSEGV when the worker does).
 *
 * The native module is opened directly where it can be: node:module takes 1.5 ms to load, looking the package up 0.7, and
 * ffi-rs's index.js asks process.report which libc this is, 4 ms.
 */

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
const opened = new Set<string>();
let ffi: Ffi | undefined;

function loadFfi(): Ffi {
  const native = { exports: {} };
  try {
    process.dlopen(native, `${import.meta.dirname}/ffi-rs.node`); // the build's copy beside the bundle
    return native.exports as Ffi;
  } catch {
    // run from source, or on musl
  }
  const require = process.getBuiltinModule('node:module').createRequire(import.meta.filename);
  try {
    return require(`@yuuang/ffi-rs-linux-${process.arch}-gnu`) as Ffi;
  } catch {
    return require('ffi-rs') as Ffi; // or a message that names the missing package
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
