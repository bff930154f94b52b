// npm run build: the native parts with cc and make, the TypeScript with esbuild, and the launchers' record of Node's path.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

const missing = ['cc', 'make'].filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
if (missing.length > 0) {
  const packages = missing.map((tool) => (tool === 'cc' ? 'gcc and libc6-dev' : 'make')).join(' and ');
  console.error(
    `tinyctr: ${missing.join(' and ')} not found: native-shim needs a C compiler and make; on Debian: apt-get install ${packages.replaceAll(' and ', ' ')}`,
  );
  process.exit(1);
}
const made = spawnSync('make', ['-s', '-C', 'native-shim'], { stdio: ['ignore', 'inherit', 'inherit'] });
if (made.status !== 0) {
  console.error(
    'tinyctr: native-shim could not be compiled; on Debian: apt-get install gcc libc6-dev make linux-libc-dev',
  );
  process.exit(1);
}

const { build } = await import('esbuild');
await build({
  entryPoints: { tinyctr: 'src/cli/main.ts', 'tinyctr-oci': 'src/oci/main.ts' },
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  external: ['ffi-rs', '@yuuang/*', 'pino', 'tar'], // commander goes in: it is needed at every start
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  sourcemap: 'linked',
  logLevel: 'warning',
});
mkdirSync('dist', { recursive: true });
writeFileSync('dist/node-path', `${process.execPath}\n`);
for (const launcher of ['bin/tinyctr', 'bin/tinyctr-oci']) chmodSync(launcher, 0o755);
