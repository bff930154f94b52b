// npm run bench:oci: tinyctr-oci beside runc and crun, the same bundle and the same calls, interleaved, in a pure cgroup v2 view.
// Prints medians and ratios; ROUNDS sets the number of rounds. Needs root; what is not installed is left out, and said so.
// The one file of `npm run build:bun` runs beside them where it has been built.
// usage: npm run bench:oci [-- --json FILE]
import { spawnSync } from 'node:child_process';
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { validationTimes } from './validation.mjs';
import { enterView, has, makeScratch, median, must, project, writeJson } from './view.mjs';

const rounds = Number(process.env.ROUNDS ?? 30);

enterView();
const scratch = makeScratch();

/** One root filesystem and one config.json for all: of tinyctr-oci spec, without device rules (crun 1.8 can't load them in this view). */
function makeBundle(name, args) {
  const bundle = `${scratch}/${name}`;
  mkdirSync(bundle);
  must(`${project}/bin/tinyctr-oci`, 'spec', '--bundle', bundle);
  const config = JSON.parse(readFileSync(`${bundle}/config.json`, 'utf8'));
  config.process = { ...config.process, terminal: false, args };
  config.root.path = `${scratch}/rootfs`;
  delete config.linux.resources;
  config.ociVersion = '1.0.2'; // crun 1.8 knows no newer one
  writeFileSync(`${bundle}/config.json`, JSON.stringify(config));
  return bundle;
}

must(
  `${project}/bin/tinyctr`,
  '--root',
  `${scratch}/store`,
  '--run-root',
  `${scratch}/run`,
  'run',
  '--rm',
  'busybox',
  'true',
);
const [layer] = readdirSync(`${scratch}/store/layers`).filter((name) => /^[0-9a-f]{32}$/.test(name));
cpSync(`${scratch}/store/layers/${layer}`, `${scratch}/rootfs`, { recursive: true, verbatimSymlinks: true });
const once = makeBundle('once', ['true']);
const idle = makeBundle('idle', ['sleep', '100000']);

const byBun = `${project}/dist.bun/tinyctr-oci`;
const programs = { 'tinyctr-oci': `${project}/bin/tinyctr-oci`, bun: byBun, runc: 'runc', crun: 'crun' };
if (!existsSync(byBun)) {
  console.log('bench: no dist.bun/tinyctr-oci (npm run build:bun): left out');
  delete programs.bun;
}
for (const name of ['runc', 'crun'])
  if (!has(name)) {
    console.log(`bench: ${name} is not installed: left out`);
    delete programs[name];
  }

let count = 0;
/** Throws what it said if it failed. Standard streams are files, as in a script. */
function call(name, ...words) {
  const errors = openSync(`${scratch}/errors`, 'w');
  const { status } = spawnSync(programs[name], ['--root', `${scratch}/state-${name}`, ...words], {
    stdio: ['ignore', 'ignore', errors],
  });
  closeSync(errors);
  if (status !== 0) throw new Error(readFileSync(`${scratch}/errors`, 'utf8').trim());
}

const operations = {
  run: (name) => call(name, 'run', '--bundle', once, `bench-${name}-${process.pid}-${count++}`),
  'create, start, delete': (name) => {
    const id = `bench-${name}-${process.pid}-${count++}`;
    call(name, 'create', '--bundle', idle, id);
    call(name, 'start', id);
    call(name, 'delete', '--force', id);
  },
  exec: (name) => call(name, 'exec', `bench-${name}-idle`, 'true'),
  'delete --force': (name) => call(name, 'delete', '--force', `bench-${name}-ended`),
};
/** What is not measured. */
const before = {
  'delete --force': (name) => {
    call(name, 'create', '--bundle', idle, `bench-${name}-ended`);
    call(name, 'start', `bench-${name}-ended`);
  },
};
const goals = { run: 1.8, 'create, start, delete': 3.2, exec: 1.8, 'delete --force': 0.8 };

for (const name of Object.keys(programs)) {
  try {
    call(name, 'create', '--bundle', idle, `bench-${name}-idle`);
    call(name, 'start', `bench-${name}-idle`);
  } catch (error) {
    console.log(`bench: ${name} fails here, left out: ${error.message}`);
    delete programs[name];
  }
}
const times = Object.fromEntries(
  Object.keys(operations).map((operation) => [
    operation,
    Object.fromEntries(Object.keys(programs).map((name) => [name, []])),
  ]),
);
try {
  for (let round = -2; round < rounds; round++)
    for (const [operation, perform] of Object.entries(operations))
      for (const name of Object.keys(programs)) {
        before[operation]?.(name);
        const start = process.hrtime.bigint();
        perform(name);
        const ms = Number(process.hrtime.bigint() - start) / 1e6;
        if (round >= 0) times[operation][name].push(ms);
      }
} finally {
  for (const name of Object.keys(programs)) call(name, 'delete', '--force', `bench-${name}-idle`);
}

const medians = {};
console.log(`medians of ${rounds} interleaved rounds, ms`);
for (const [operation, byName] of Object.entries(times)) {
  medians[operation] = Object.fromEntries(Object.entries(byName).map(([name, values]) => [name, median(values)]));
  const { 'tinyctr-oci': ours, runc } = medians[operation];
  const cells = Object.entries(medians[operation]).map(([name, ms]) => `${name} ${ms.toFixed(1).padStart(6)}`);
  const goal = goals[operation];
  const ratio =
    runc && `  ${(ours / runc).toFixed(2)} times runc (to reach: ${goal}${ours / runc <= goal ? '' : ', missed'})`;
  console.log(`${operation.padEnd(22)} ${cells.join('  ')}${ratio ?? ''}`);
}
const { bytes, times: checks } = await validationTimes(scratch, `${once}/config.json`, rounds);
medians.validation = median(checks);
const late = medians.validation <= 3 ? '' : ', missed';
console.log(
  `checking a config.json of ${bytes} bytes: ${medians.validation.toFixed(2)} ms of a start (to reach: 3${late})`,
);
writeJson({ rounds, medians });
