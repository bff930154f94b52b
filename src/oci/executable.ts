/**
 * Where one executable file begins that Bun makes of tinyctr-oci (scripts/build-bun.mjs): what dlopen(3) is to open is inside
 * of that file, and dlopen wants one of the kernel's. So it gets a copy in memory, without a name, that is gone when the process is.
 */
import { constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Bun's name for files in the executable. */
const INSIDE = '/$bunfs/';
/** Not defined by node:fs. Source: include/uapi/asm-generic/fcntl.h (O_TMPFILE). */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

type Opened = { exports: { open(library: { library: string; path: string }): void } };

/** Calls `open` with a path of the kernel's for `path`; a folder whose mount is noexec can't serve. @throws what the last one said */
function withFile<T>(path: string, open: (path: string) => T): T {
  if (!path.startsWith(INSIDE)) return open(path);
  const content = readFileSync(path);
  let fault: unknown;
  for (const folder of ['/dev/shm', '/run', '/tmp', dirname(process.execPath)]) {
    try {
      // It stays open: dlopen takes the same path for the same library.
      const fd = openSync(folder, O_TMPFILE | constants.O_RDWR, 0o700);
      writeFileSync(fd, content);
      return open(`/proc/self/fd/${fd}`);
    } catch (error) {
      fault = error;
    }
  }
  throw fault;
}

const dlopen = process.dlopen.bind(process);
process.dlopen = (module, path) => {
  withFile(path, (file) => dlopen(module, file));
  const { exports } = module as Opened;
  const { open } = exports;
  exports.open = ({ library, path }) => withFile(path, (file) => open({ library, path: file }));
};

await import('./main.ts');
