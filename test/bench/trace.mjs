// npm run bench:trace: what --trace costs a whole `tinyctr run --rm busybox true`, with and without it interleaved.
// Prints processor time (of tinyctr and all that it starts; steady on a busy machine) and wall time, each as medians and
// ratios; ROUNDS sets the number of rounds. Needs root.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const rounds = Number(process.env.ROUNDS ?? 40);

if (process.getuid() !== 0) {
  console.error('bench: needs root');
  process.exit(1);
}
const scratch = mkdtempSync(join(tmpdir(), 'tinyctr-bench-'));
spawnSync('mount', ['-t', 'tmpfs', 'bench', scratch]);
process.on('exit', () => {
  spawnSync('umount', ['--lazy', scratch]);
  rmdirSync(scratch);
});

// Only wait4(2) tells a child's processor time, and Node does not hand it on: python3 does.
const measure = `
import os, resource, subprocess, sys, time
spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
cpu, wall = spent(), time.monotonic()
status = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(os.environ["ERRORS"], "w")).returncode
print(status, (spent() - cpu) * 1000, (time.monotonic() - wall) * 1000)`;
const env = { ...process.env, ERRORS: `${scratch}/errors` };
delete env.NODE_EXTRA_CA_CERTS;
const tinyctr = [`${project}/bin/tinyctr`, '--root', `${scratch}/root`, '--run-root', `${scratch}/run`];

function run(...options) {
  const words = [...tinyctr, 'run', '--rm', ...options, 'busybox', 'true'];
  const [status, cpuMs, wallMs] = spawnSync('python3', ['-c', measure, ...words], { encoding: 'utf8', env })
    .stdout.split(' ')
    .map(Number);
  if (status !== 0) throw new Error(`${words.join(' ')} ends with ${status}`);
  return { cpuMs, wallMs };
}

const candidates = { without: [], '--trace=FILE': [`--trace=${scratch}/trace`], '--trace': ['--trace'] };
const times = Object.fromEntries(Object.keys(candidates).map((name) => [name, []]));
for (let round = -2; round < rounds; round++)
  for (const [name, options] of Object.entries(candidates)) {
    const time = run(...options);
    if (round >= 0) times[name].push(time);
  }

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const of = (name, what) => median(times[name].map((time) => time[what]));
console.log(`medians of ${rounds} interleaved rounds, ms, and the ratio to a run without`);
for (const name of Object.keys(candidates)) {
  const shown = ['cpuMs', 'wallMs'].map(
    (what) => `${of(name, what).toFixed(1).padStart(7)} (${(of(name, what) / of('without', what)).toFixed(2)})`,
  );
  console.log(`${name.padEnd(14)} processor ${shown[0]}  wall ${shown[1]}`);
}
