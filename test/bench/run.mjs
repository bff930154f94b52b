// npm run bench: how long a container's start and end take, beside runc and podman, interleaved, in a pure cgroup v2 view.
// Prints medians and ratios; ROUNDS sets the number of rounds. Needs root; what is not installed is left out, and said so.
// usage: npm run bench [-- --json FILE]
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { enterView, has, makeScratch, median, must, project, writeJson } from './view.mjs';

const rounds = Number(process.env.ROUNDS ?? 40);

enterView();
const scratch = makeScratch();
const tinyctr = [`${project}/bin/tinyctr`, '--root', `${scratch}/root`, '--run-root', `${scratch}/run`];

/** The embedded image's own root filesystem and config.json of the container that tinyctr makes, for runc. */
async function bundles() {
  must(...tinyctr, 'run', '--rm', 'busybox', 'true');
  const [layer] = readdirSync(`${scratch}/root/layers`).filter((name) => /^[0-9a-f]{32}$/.test(name));
  const rootfs = `${scratch}/root/layers/${layer}`;
  const config = JSON.parse(
    spawnSync('sh', ['-c', `mkdir -p ${scratch}/spec && cd ${scratch}/spec && runc spec && cat config.json`], {
      encoding: 'utf8',
    }).stdout,
  );
  const caps =
    'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'
      .split(' ')
      .map((name) => `CAP_${name}`);
  config.process = {
    ...config.process,
    terminal: false,
    args: ['true'],
    noNewPrivileges: false,
    capabilities: { bounding: caps, effective: caps, permitted: caps },
    rlimits: [],
  };
  config.root = { path: rootfs, readonly: false };
  const write = (name, seccomp) => {
    mkdirSync(`${scratch}/${name}`);
    writeFileSync(
      `${scratch}/${name}/config.json`,
      JSON.stringify({ ...config, linux: { ...config.linux, ...(seccomp ? { seccomp } : {}) } }),
    );
  };
  write('unconfined');
  const { build } = await import('esbuild');
  const code =
    "import { defaultSeccompProfile } from './src/engine/seccomp-profile.ts'; export default defaultSeccompProfile;";
  await build({
    stdin: { contents: code, resolveDir: project, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    outfile: `${scratch}/profile.mjs`,
  });
  write('confined', (await import(`${scratch}/profile.mjs`)).default(caps));
  return rootfs;
}

const rootfs = await bundles();
writeFileSync(`${scratch}/empty.cjs`, '');
let count = 0;
const runc = (bundle) => () => [
  'runc',
  '--root',
  `${scratch}/runc`,
  'run',
  '-b',
  `${scratch}/${bundle}`,
  `bench-${process.pid}-${count++}`,
];
const run =
  (...options) =>
  () => [...tinyctr, 'run', '--rm', ...options, 'busybox', 'true'];
const candidates = {
  'node, empty script': () => [process.execPath, `${scratch}/empty.cjs`],
  'tinyctr, seccomp unconfined': run('--security-opt', 'seccomp=unconfined'),
  'tinyctr, default profile': run(),
  ...(has('runc') ? { 'runc, no seccomp': runc('unconfined'), 'runc, default profile': runc('confined') } : {}),
  ...(has('podman')
    ? {
        'podman, network none': () => [
          'podman',
          '--root',
          `${scratch}/podman`,
          '--runroot',
          `${scratch}/podman-run`,
          '--cgroup-manager',
          'cgroupfs',
          '--events-backend',
          'none',
          '--runtime',
          'runc', // crun insists on RLIM_MEMLOCK, which needs CAP_SYS_RESOURCE
          'run',
          '--rm',
          '--network',
          'none',
          '--pids-limit',
          '0',
          '--ulimit',
          'nofile=1024:20000',
          '--ulimit',
          'nproc=32768:32768',
          '--rootfs',
          `${rootfs}:O`,
          'true',
        ],
      }
    : {}),
};
for (const peer of ['runc', 'podman']) if (!has(peer)) console.log(`bench: ${peer} is not installed: left out`);

const times = Object.fromEntries(Object.keys(candidates).map((name) => [name, []]));
for (let round = -2; round < rounds; round++) {
  for (const [name, command] of Object.entries(candidates)) {
    const [file, ...args] = command();
    // Standard error is a file, as in a script: Node's 'pipe' is a socket, whose bytes tinyctr would have to carry over.
    const errors = openSync(`${scratch}/errors`, 'w');
    const start = process.hrtime.bigint();
    const { status } = spawnSync(file, args, { stdio: ['ignore', 'ignore', errors] });
    const ms = Number(process.hrtime.bigint() - start) / 1e6;
    closeSync(errors);
    if (status !== 0) {
      const last = readFileSync(`${scratch}/errors`, 'utf8').trim().split('\n').at(-1);
      console.log(`bench: ${name} fails here, left out: ${last}`);
      delete candidates[name];
      delete times[name];
    } else if (round >= 0) times[name].push(ms);
  }
}

const medians = Object.fromEntries(Object.entries(times).map(([name, values]) => [name, median(values)]));
console.log(`medians of ${rounds} interleaved rounds, ms`);
for (const [name, ms] of Object.entries(medians)) console.log(`${name.padEnd(30)} ${ms.toFixed(1).padStart(7)}`);
const ratios = [
  ['tinyctr, seccomp unconfined', 'runc, no seccomp', 1.8],
  ['tinyctr, default profile', 'runc, default profile', 1.1],
  ['tinyctr, default profile', 'podman, network none', 1 / 3],
].filter(([ours, theirs]) => medians[ours] && medians[theirs]);
for (const [ours, theirs, goal] of ratios) {
  const ratio = medians[ours] / medians[theirs];
  console.log(
    `${ours} / ${theirs}: ${ratio.toFixed(2)} (to reach: ${goal.toFixed(2)}${ratio <= goal ? '' : ', missed'})`,
  );
}
writeJson({ rounds, medians });
