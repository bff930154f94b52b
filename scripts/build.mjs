// npm run build: the native parts with cc and make, the TypeScript with esbuild, and the launchers' record of Node's path.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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

// Made beside and put in place at the end: a start meanwhile finds the old build or the new one, never half of one.
const out = `dist.${process.pid}`;
process.on('exit', () => rmSync(out, { recursive: true, force: true }));
mkdirSync(out);
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

/** `tinyctr run` alone: the other verbs, and what only they need, are another file's, and so is stepping. */
const onlyRun = {
  name: 'only-run',
  setup(bundle) {
    bundle.onResolve({ filter: /^\.\.\/step\.ts$/ }, ({ path }) => ({ path, namespace: 'left-out' }));
    bundle.onResolve({ filter: /^\.\/verbs\// }, ({ importer, path }) =>
      importer.endsWith('/src/cli/main.ts') && path !== './verbs/run.ts' ? { path, namespace: 'left-out' } : undefined,
    );
  },
};

/** Bundles, whether their programs are started with V8's flags, and what is left out of them. */
const bundles = {
  tinyctr: { entry: 'src/cli/main.ts', flags: false, plugins: [leaveOut] },
  'tinyctr-run': { entry: 'src/cli/main.ts', flags: true, plugins: [leaveOut, onlyRun] },
  'tinyctr-unpack': { entry: 'src/image/unpack/helper.ts', flags: false, plugins: [] },
  'tinyctr-supervisor': { entry: 'src/supervisor/main.ts', flags: false, plugins: [leaveOut] },
  'tinyctr-oci': { entry: 'src/oci/main.ts', flags: true, plugins: [leaveOut] },
};
for (const [name, { entry, plugins }] of Object.entries(bundles))
  await build({
    entryPoints: { [`${name}.bundle`]: entry },
    outdir: out,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20.19',
    supported: { 'dynamic-import': false }, // import() becomes require(): V8's compiled code has no module loader
    external: ['ffi-rs', '@yuuang/*', 'pino', 'tar', 'undici'], // commander goes in: it is needed at every start
    define: { 'import.meta.filename': '__filename', 'import.meta.dirname': '__dirname' },
    // The file is the function that src/start.cjs calls, so that nothing has to be put around 360 kB of text at every start.
    banner: { js: '(function (exports, require, module, __filename, __dirname) {' },
    footer: { js: '})' },
    minifyWhitespace: true, // half the bytes to read at every start; names stay
    plugins,
    sourcemap: 'linked',
    logLevel: 'warning',
  });
const runFlags = flagsForRun();
for (const program of ['tinyctr', 'tinyctr-oci']) {
  copyFileSync('src/start.cjs', `${out}/${program}.cjs`);
  copyFileSync('native-shim/build/launcher', `${out}/${program}`); // bin/ has a link to it
}
for (const program of ['unpack', 'supervisor']) copyFileSync('src/start.cjs', `${out}/tinyctr-${program}.cjs`);
keepCode((bundle) => !bundle.flags);
for (const flag of runFlags.filter((flag) => !/^--(v8|preserve)-/.test(flag))) setFlagsFromString(flag); // those are Node's own
keepCode((bundle) => bundle.flags);
copyNativeFfi();
writeFileSync(`${out}/node-path`, `${process.execPath}\n${runFlags.join(' ')}\n${flagsForPull().join(' ')}\n`);
rmSync('dist', { recursive: true, force: true });
renameSync(out, 'dist');
keepWhatRuns();

/**
 * V8's flags for `run`, as far as this Node takes them. V8 makes up a new hash seed at every start, 4 ms, so that nobody can
 * choose keys that collide: `run` reads a few short fields of others at most, and who reads archives keeps the seed. A
 * first heap of 1 MB is collected twice on the way to the container, 4 MB not at all, 8 MB not with --trace either. Helper threads of V8 are only started.
 * Nothing runs often enough for a second compiler to pay. The launcher has resolved links already.
 */
function flagsForRun() {
  const flags = [
    '--no-rehash-snapshot',
    '--min-semi-space-size=8',
    '--v8-pool-size=0',
    '--no-sparkplug',
    '--preserve-symlinks-main',
  ];
  return accepted(flags);
}

/** A layer's bytes pass in pieces that are garbage at once: with a first heap of 16 MB, 30 MB of them would lie around. */
function flagsForPull() {
  return accepted(['--max-semi-space-size=1']);
}

function accepted(flags) {
  return flags.filter((flag) => spawnSync(process.execPath, [flag, '-e', '']).status === 0);
}

/** ffi-rs's native module, where src/core/host/ffi.ts looks first; on musl there is another one, which ffi-rs finds itself. */
function copyNativeFfi() {
  try {
    copyFileSync(
      createRequire(import.meta.url).resolve(`@yuuang/ffi-rs-linux-${process.arch}-gnu`),
      `${out}/ffi-rs.node`,
    );
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
  }
}

/**
 * Compiled code is for one set of V8's flags, and half of it is never used by `run`: reading it back costs 2 ms. So `run`
 * has its own, of what it executed; V8 compiles a function that is missing when it is first called. The same for the verbs
 * that a container's life consists of in tinyctr-oci. Only root can start a container for this; where that fails, as in a
 * build without privileges, all of it stays.
 */
function keepWhatRuns() {
  if (process.getuid() !== 0) return;
  const scratch = mkdtempSync(join(tmpdir(), 'tinyctr-build-'));
  const keep = (program, ...words) =>
    spawnSync(`${root}/bin/${program}`, words, { stdio: 'ignore', env: { TINYCTR_KEEP_CODE: '1' } });
  const run = (...options) =>
    keep(
      'tinyctr',
      ...['--root', `${scratch}/root`, '--run-root', `${scratch}/run`, 'run', '--rm', ...options, 'busybox', 'true'],
    );
  run(); // makes the image, which later starts don't
  if (run().status === 0 && run(`--trace=${scratch}/trace`).status === 0)
    keepWhatOciRuns(scratch, (...words) => keep('tinyctr-oci', '--root', `${scratch}/oci`, ...words));
  rmSync(scratch, { recursive: true, force: true });
}

function keepWhatOciRuns(scratch, oci) {
  const id = `build-${process.pid}`;
  for (const options of [[], [`--trace=${scratch}/trace`]]) {
    makeBundle(scratch, ['true']);
    oci('run', '--bundle', scratch, ...options, id);
    makeBundle(scratch, ['sleep', '1000']);
    oci('create', '--bundle', scratch, ...options, id);
    oci('start', id);
    oci('exec', ...options, id, 'true');
    oci('delete', '--force', id);
  }
}

/** V8's code for whole bundles, every function of them; src/start.cjs loads it. */
function keepCode(which) {
  for (const [name] of Object.entries(bundles).filter(([, bundle]) => which(bundle))) {
    const filename = `${out}/${name}.bundle.cjs`;
    setFlagsFromString('--no-lazy');
    const script = new Script(readFileSync(filename, 'latin1'), { filename });
    setFlagsFromString('--lazy');
    writeFileSync(`${filename}.cache`, script.createCachedData());
  }
}

/** Of the image's layer, with the configuration that `tinyctr-oci spec` writes. */
function makeBundle(folder, args) {
  const [layer] = readdirSync(`${folder}/root/layers`).filter((name) => /^[0-9a-f]{32}$/.test(name));
  rmSync(`${folder}/config.json`, { force: true });
  spawnSync(`${root}/bin/tinyctr-oci`, ['spec', '--bundle', folder]);
  const spec = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
  Object.assign(spec.process, { terminal: false, args });
  spec.root.path = `root/layers/${layer}`;
  writeFileSync(`${folder}/config.json`, JSON.stringify(spec));
}
