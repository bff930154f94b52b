// npm run build: the native parts with cc and make, the TypeScript with esbuild, and the launchers' record of Node's path.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

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

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
const { build } = await import('esbuild');

/** commander needs child_process for subcommands that are programs of their own; we have none, and it costs 5 ms. */
const leaveOut = {
  name: 'leave-out',
  setup(bundle) {
    bundle.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes('/commander/') ? { path: 'child_process', namespace: 'left-out' } : undefined,
    );
    bundle.onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {}' }));
  },
};

const programs = { tinyctr: 'src/cli/main.ts', 'tinyctr-oci': 'src/oci/main.ts' };
await build({
  entryPoints: Object.fromEntries(Object.entries(programs).map(([name, file]) => [`${name}.bundle`, file])),
  outdir: 'dist',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20.19',
  supported: { 'dynamic-import': false }, // import() becomes require(): V8's compiled code has no module loader
  external: ['ffi-rs', '@yuuang/*', 'pino', 'tar'], // commander goes in: it is needed at every start
  define: { 'import.meta.url': '__moduleUrl' },
  banner: { js: "const __moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
  minifyWhitespace: true, // half the bytes to read at every start; names stay
  plugins: [leaveOut],
  sourcemap: 'linked',
  logLevel: 'warning',
});
for (const name of Object.keys(programs)) {
  copyFileSync('src/start.cjs', `dist/${name}.cjs`);
  writeFileSync(`dist/${name}.bundle.cjs.cache`, compiled(`dist/${name}.bundle.cjs`));
  chmodSync(`bin/${name}`, 0o755);
}
writeFileSync('dist/node-path', `${process.execPath}\n`);

/** V8's code for the whole bundle, every function of it; src/start.cjs loads it. */
function compiled(file) {
  setFlagsFromString('--no-lazy');
  const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, 'utf8')}\n})`;
  const script = new Script(source, { filename: file });
  setFlagsFromString('--lazy');
  return script.createCachedData();
}
