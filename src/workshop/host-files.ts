/** What Node changes in the host's file system, told to whoever traces: node:fs itself is watched, from now on. Host side. */
import { nowMs } from '../core/stage/stage.ts';

/** -errno on failure; nowMs() from before the call. */
export type FileObserver = (name: string, call: string, result: number, startedMs: number) => void;

/** `import fs` would have the bundle make a copy of all of it. */
const fs = process.getBuiltinModule('node:fs');

type Path = string | number | Buffer | URL;
const quoted = (path: unknown): string => JSON.stringify(String(path));
const octal = (mode: unknown): string => `0${Number(mode).toString(8)}`;
const STDERR = 2;

/** Only what the kernel is told is shown: what goes into other files may be a secret. */
function shownData(path: string, data: unknown): string {
  const length = typeof data === 'string' ? Buffer.byteLength(data) : (data as Uint8Array).byteLength;
  return /^\/(sys|proc)\//.test(path) && typeof data === 'string' ? JSON.stringify(data) : `[${length} bytes]`;
}

const { O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY } = fs.constants;
const letters: Record<string, number> = {
  ...{ r: 0, 'r+': O_RDWR, w: O_WRONLY | O_CREAT | O_TRUNC, wx: O_WRONLY | O_CREAT | O_EXCL | O_TRUNC },
  ...{ a: O_WRONLY | O_CREAT | O_APPEND, 'w+': O_RDWR | O_CREAT | O_TRUNC, 'wx+': O_RDWR | O_CREAT | O_EXCL | O_TRUNC },
};
const flagNames = Object.entries({ O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY });

function openText(path: Path, flags: string | number = 'r', mode: number = 0o666): string {
  const bits = typeof flags === 'number' ? flags : (letters[flags] ?? 0);
  const names = flagNames.flatMap(([name, bit]) => ((bits & bit) === bit ? [name] : []));
  return `${quoted(path)}, ${names.join('|') || 'O_RDONLY'}${bits & O_CREAT ? `, ${octal(mode)}` : ''}`;
}

/** By function of node:fs: the system call, and its arguments as they are shown; undefined is not told. */
const watched: Record<string, readonly [name: string, shown: (...args: never[]) => string | undefined]> = {
  mkdirSync: [
    'mkdir',
    (path: Path, options?: number | { mode?: number }) => {
      const mode = typeof options === 'object' ? options.mode : options;
      return `${quoted(path)}, ${octal(mode ?? 0o777)}`;
    },
  ],
  rmdirSync: ['rmdir', quoted],
  rmSync: ['rm', quoted],
  unlinkSync: ['unlink', quoted],
  renameSync: ['rename', (from: Path, to: Path) => `${quoted(from)}, ${quoted(to)}`],
  symlinkSync: ['symlink', (target: Path, path: Path) => `${quoted(target)}, ${quoted(path)}`],
  chmodSync: ['chmod', (path: Path, mode: number) => `${quoted(path)}, ${octal(mode)}`],
  chownSync: ['chown', (path: Path, uid: number, gid: number) => `${quoted(path)}, ${uid}, ${gid}`],
  fchownSync: ['fchown', (fd: number, uid: number, gid: number) => `${fd}, ${uid}, ${gid}`],
  writeFileSync: ['write', (path: Path, data: unknown) => `${quoted(path)}, ${shownData(String(path), data)}`],
  openSync: [
    'openat',
    (path: Path, flags?: string | number, mode?: number) => {
      const shown = openText(path, flags, mode);
      return /O_RDONLY|O_DIRECTORY/.test(shown) ? undefined : `AT_FDCWD, ${shown}`;
    },
  ],
  writeSync: [
    'write',
    (fd: number, data: unknown) => {
      const path = opened.get(fd);
      return path === undefined || fd <= STDERR ? undefined : `${quoted(path)}, ${shownData(path, data)}`;
    },
  ],
  closeSync: [
    'close',
    (fd: number) => {
      opened.delete(fd);
      return undefined;
    },
  ],
};

/** What descriptors lead to that openSync has made. */
const opened = new Map<number, string>();

/** Functions of node:fs call each other. */
let within = false;

/** The bundle, which is CommonJS, calls node:fs's functions by name: whoever replaces them there is asked. */
export function watchFiles(observer: FileObserver): void {
  const functions = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const [key, [name, shown]] of Object.entries(watched)) {
    const real = functions[key]!;
    functions[key] = (...args: unknown[]) => {
      if (within) return real(...args);
      const text = (shown as (...args: unknown[]) => string | undefined)(...args);
      const startedMs = text === undefined ? 0 : nowMs();
      within = true;
      let result = 0;
      try {
        const returned = real(...args);
        if (typeof returned === 'number') result = returned;
        if (key === 'openSync') opened.set(result, String(args[0]));
        return returned;
      } catch (error) {
        result = (error as { errno?: number }).errno ?? 0;
        throw error;
      } finally {
        within = false;
        if (text !== undefined) observer(name, `${name}(${text})`, result, startedMs);
      }
    };
  }
}
