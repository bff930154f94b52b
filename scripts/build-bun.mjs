// npm run build:bun: tinyctr-oci as one executable file, dist.bun/tinyctr-oci, with the native parts inside, which `npm run build`
// has made. Bun is fetched by npx, unless one is on the PATH. `npm run test:bun` runs the integration cases with it.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bun = spawnSync('bun', ['--version']).status === 0 ? ['bun'] : ['npx', '--yes', 'bun@1.4.5'];

// Bun names what it puts in by the path from the folder that it is started in.
const scratch = mkdtempSync(join(tmpdir(), 'tinyctr-bun-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
cpSync(`${root}/native-shim/build`, `${scratch}/native-shim/build`, { recursive: true });
cpSync(`${root}/dist/ffi-rs.node`, `${scratch}/ffi-rs.node`);

const options = [
  '--compile',
  '--bytecode',
  '--format=esm',
  '--splitting', // modules that a verb does not import are not read
  '--compile-jit-policy=100', // nothing runs often enough to be compiled: 6 ms
  // The working directory is a bundle, which is somebody else's: nothing there may have a say.
  '--no-compile-autoload-dotenv',
  '--no-compile-autoload-bunfig',
  ...['--asset', 'native-shim', '--asset', 'ffi-rs.node'],
  ...['--outfile', `${root}/dist.bun/tinyctr-oci`],
];
const words = [...bun.slice(1), 'build', ...options, `${root}/src/oci/executable.ts`];
const { status, error } = spawnSync(bun[0], words, { cwd: scratch, stdio: 'inherit' });
if (error) throw error;
process.exitCode = status ?? 1;
