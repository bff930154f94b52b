/** What Node changes in the host's file system, told to who traces: node:fs itself is watched, from now on. Host side. */
import { nowMs } from '../core/stage/stage.ts';

/** The function's name and its arguments, without what may be a secret; -errno on failure; nowMs() from before the call. */
type FileObserver = (name: string, args: readonly unknown[], result: number, startedMs: number) => void;

/** `import fs` would have the bundle make a copy of all of it. */
const fs = process.getBuiltinModule('node:fs');
const { readlinkSync } = fs;
const { O_WRONLY, O_RDWR, O_CREAT } = fs.constants;
const STDERR = 2;

const watched = [
  ...['mkdirSync', 'rmdirSync', 'rmSync', 'unlinkSync', 'renameSync', 'symlinkSync', 'chmodSync', 'chownSync'],
  ...['fchownSync', 'writeFileSync', 'openSync', 'writeSync'],
];

/** The file that a descriptor leads to; undefined for a pipe, a socket, a terminal, for what has no name any more. */
function fileOf(fd: number): string | undefined {
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  return path.startsWith('/') && !path.startsWith('/dev/') && !path.endsWith(' (deleted)') ? path : undefined;
}

/** Only what the kernel is told is kept: what goes into other files may be a secret. */
function kept(path: string, data: unknown): unknown {
  if (typeof data !== 'string') return { length: (data as Uint8Array).byteLength };
  return path.startsWith('/sys/') || path.startsWith('/proc/') ? data : { length: Buffer.byteLength(data) };
}

/** Undefined is not told: what changes nothing. */
function argumentsOf(name: string, [first, second, third]: readonly unknown[]): unknown[] | undefined {
  switch (name) {
    case 'openSync': {
      const changes = typeof second === 'number' ? second & (O_WRONLY | O_RDWR | O_CREAT) : second && second !== 'r';
      return changes ? [String(first), second, third] : undefined;
    }
    case 'writeFileSync':
      return [String(first), kept(String(first), second)];
    case 'writeSync': {
      const path = (first as number) > STDERR ? fileOf(first as number) : undefined;
      return path === undefined ? undefined : [path, kept(path, second)];
    }
    case 'mkdirSync':
      return [String(first), typeof second === 'object' ? (second as { mode?: number } | null)?.mode : second];
    case 'rmSync':
      return [String(first)];
    default:
      return [first, second, third].map((arg) => (typeof arg === 'object' ? String(arg) : arg));
  }
}

/** Functions of node:fs call each other. */
let within = false;

/** The bundle, which is CommonJS, calls node:fs's functions by name: whoever replaces them there is asked. */
export function watchFiles(observer: FileObserver): void {
  const functions = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of watched) {
    const real = functions[name]!;
    functions[name] = (...args: unknown[]) => {
      if (within) return real(...args);
      const told = argumentsOf(name, args);
      const startedMs = told ? nowMs() : 0;
      within = true;
      let result = 0;
      try {
        const returned = real(...args);
        if (typeof returned === 'number') result = returned;
        return returned;
      } catch (error) {
        result = (error as { errno?: number }).errno ?? 0;
        throw error;
      } finally {
        within = false;
        if (told) observer(name, told, result, startedMs);
      }
    };
  }
}
