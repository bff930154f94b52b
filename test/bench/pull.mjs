/**
 * How fast an image of three layers (about 90 MB gzip, 300 MB, 17,000 files) comes from a registry on loopback: tinyctr,
 * docker, podman, and `tar -xzf` of the layers one after another, taking turns, a fresh folder each time. Run as root:
 * node test/bench/pull.mjs [rounds]. It needs docker-registry and skopeo; docker and podman are left out where they are missing.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const rounds = Number(process.argv[2] ?? 7);
const ADDRESS = '127.0.0.1:5000';
const IMAGE = `${ADDRESS}/bench/three:latest`;

if (process.getuid() !== 0) {
  console.error('bench: needs root');
  process.exit(1);
}
if (!process.env.TINYCTR_BENCH_INSIDE) {
  // Mounts and a loopback of its own: no daemon and no port of this touches the host's, and all ends with it.
  const inside = 'mount --make-rprivate / && ip link set lo up && exec "$@"';
  const args = ['-m', '-n', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c', inside, 'sh'];
  const env = { ...process.env, TINYCTR_BENCH_INSIDE: '1' };
  delete env.NODE_EXTRA_CA_CERTS; // 40 to 50 ms of Node 20's start; the launcher drops it
  const { status } = spawnSync('unshare', [...args, process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env,
  });
  process.exit(status ?? 1);
}

const scratch = mkdtempSync(join(tmpdir(), 'tinyctr-bench-pull-'));
execFileSync('mount', ['-t', 'tmpfs', 'bench', scratch]); // in memory: what the disk does is the disk's affair
process.on('exit', () => {
  spawnSync('umount', ['--lazy', scratch]);
  rmdirSync(scratch);
});
const has = (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
const sha256 = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What gzip can't make smaller, and images have little of. */
const packed = /\.(gz|xz|zst|png|jpe?g|woff2?|zip|whl|jar|mo)$/;

/** Files of this machine below some folders, in the order of their names, until there are enough. */
function pick(folders, mostFiles, mostBytes, mostEach) {
  const files = [];
  let bytes = 0;
  const visit = (path) => {
    for (const name of readdirSync(path).sort()) {
      if (files.length >= mostFiles || bytes >= mostBytes) return;
      const file = join(path, name);
      const stat = lstatSync(file);
      if (stat.isDirectory()) visit(file);
      else if (
        stat.isSymbolicLink() ||
        (stat.isFile() && stat.size < mostEach && stat.nlink === 1 && !packed.test(name))
      ) {
        files.push(file.slice(1));
        if (stat.isFile()) bytes += stat.size;
      }
    }
  };
  for (const folder of folders) visit(folder);
  return files;
}

function makeLayout(folder) {
  mkdirSync(`${folder}/blobs/sha256`, { recursive: true });
  const put = (mediaType, bytes) => {
    const digest = sha256(bytes);
    writeFileSync(`${folder}/blobs/sha256/${digest.slice(7)}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const lists = [
    pick(['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib'].filter(isFolder), 3500, 95e6, 2e6),
    pick(['/usr/share', '/usr/include'], 10_300, 125e6, 3e6),
    pick([`${project}/node_modules`], 5500, 95e6, 12e6),
  ];
  const diffIds = [];
  const archives = [];
  const layers = lists.map((files, i) => {
    writeFileSync(`${scratch}/list`, files.join('\0'));
    const archive = `${scratch}/layer-${i}.tar`;
    const plain = ['--owner=0', '--group=0', '--numeric-owner', '--no-recursion', '--null', '-T', `${scratch}/list`];
    execFileSync('tar', ['-C', '/', ...plain, '-cf', archive]);
    diffIds.push(sha256(readFileSync(archive)));
    execFileSync('gzip', ['-n', '-f', archive]);
    archives.push(`${archive}.gz`);
    return put('application/vnd.oci.image.layer.v1.tar+gzip', readFileSync(`${archive}.gz`));
  });
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const rootfs = { type: 'layers', diff_ids: diffIds };
  const config = { architecture, os: 'linux', created: '2026-01-01T00:00:00Z', config: { Cmd: ['true'] }, rootfs };
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: put('application/vnd.oci.image.config.v1+json', Buffer.from(JSON.stringify(config))),
    layers,
  };
  const top = put(mediaType, Buffer.from(JSON.stringify(manifest)));
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  writeFileSync(`${folder}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(`${folder}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [{ ...top, annotations }] }));
  const megabytes = layers.map(({ size }) => `${(size / 1e6).toFixed(0)} MB`).join(', ');
  const files = lists.reduce((sum, list) => sum + list.length, 0);
  console.log(`layers: ${megabytes} of gzip; ${files} files, directories not counted`);
  return archives;
}

function isFolder(path) {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** A daemon that lives until the end of this; its output goes to a file. */
function daemon(name, command, args) {
  const log = openSync(`${scratch}/${name}.log`, 'a');
  const child = spawn(command, args, {
    stdio: ['ignore', log, log],
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  });
  child.once('error', (error) => console.error(`${command}: ${error.message}`));
  return child;
}

async function until(what, ready) {
  for (let i = 0; i < 300; i++) {
    if (ready()) return;
    await sleep(100);
  }
  throw new Error(`${what}: not within 30 seconds`);
}

async function startRegistry() {
  const config = {
    version: '0.1',
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: `${scratch}/registry` } },
    http: { addr: ADDRESS, secret: 'bench' },
  };
  writeFileSync(`${scratch}/registry.json`, JSON.stringify(config));
  daemon('registry', 'docker-registry', ['serve', `${scratch}/registry.json`]);
  await until('docker-registry', () => spawnSync('curl', ['-sf', `http://${ADDRESS}/v2/`]).status === 0);
}

/** Runs a program to its end. Its own peak memory and that of its children, as far as a look every 10 ms sees them. */
async function timed(command, args) {
  const start = process.hrtime.bigint();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  let peakKb = 0;
  const timer = setInterval(() => {
    peakKb = Math.max(peakKb, residentKb(child.pid));
  }, 10);
  const code = await new Promise((resolve) => child.once('close', resolve));
  clearInterval(timer);
  const ms = Number(process.hrtime.bigint() - start) / 1e6;
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr}`);
  return { ms, peakKb };
}

function residentKb(pid) {
  try {
    const own = Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
    return own + children.reduce((sum, child) => sum + residentKb(child), 0);
  } catch {
    return 0; // it has just ended
  }
}

let made = 0;
function freshFolder() {
  const folder = `${scratch}/run-${made++}`;
  mkdirSync(folder);
  return folder;
}

/** Each gets a fresh folder, and gives back what timed() does. */
const contenders = {
  async tinyctr(folder) {
    return await timed(`${project}/bin/tinyctr`, ['--root', `${folder}/root`, 'pull', IMAGE]);
  },
  async tar(folder) {
    const commands = archives.map((archive, i) => `mkdir ${folder}/${i} && tar -C ${folder}/${i} -xzf ${archive}`);
    return await timed('sh', ['-c', commands.join(' && ')]);
  },
  async podman(folder) {
    const store = ['--root', `${folder}/root`, '--runroot', `${folder}/run`, '--storage-driver', 'overlay'];
    return await timed('podman', [...store, 'pull', '--quiet', '--tls-verify=false', IMAGE]);
  },
  async docker(folder) {
    const socket = `unix://${folder}/docker.sock`;
    const places = ['--data-root', `${folder}/data`, '--exec-root', `${folder}/exec`, '--pidfile', `${folder}/pid`];
    const network = ['--bridge', 'none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'];
    const child = daemon('dockerd', 'dockerd', ['-H', socket, ...places, ...network, '--storage-driver', 'overlay2']);
    try {
      await until('dockerd', () => spawnSync('docker', ['-H', socket, 'info']).status === 0);
      return await timed('docker', ['-H', socket, 'pull', '--quiet', IMAGE]);
    } finally {
      child.kill('SIGTERM');
      await new Promise((resolve) => child.once('exit', resolve));
    }
  },
};

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

const archives = makeLayout(`${scratch}/layout`);
await startRegistry();
const target = `docker://${IMAGE}`;
execFileSync('skopeo', [
  '--insecure-policy',
  'copy',
  '-q',
  '--dest-tls-verify=false',
  `oci:${scratch}/layout:latest`,
  target,
]);
const names = Object.keys(contenders).filter((name) => name === 'tinyctr' || name === 'tar' || has(name));
const results = Object.fromEntries(names.map((name) => [name, []]));
for (let round = 0; round <= rounds; round++)
  for (const name of names) {
    const folder = freshFolder();
    const result = await contenders[name](folder);
    if (round > 0) results[name].push(result); // the first one warms the page cache
    spawnSync('sh', [
      '-c',
      `awk '$5 ~ "^${folder}/" {print $5}' /proc/self/mountinfo | sort -r | xargs -r umount -l; rm -rf ${folder}`,
    ]);
  }
const times = Object.fromEntries(names.map((name) => [name, median(results[name].map(({ ms }) => ms))]));
for (const name of names) {
  const peak = Math.max(...results[name].map(({ peakKb }) => peakKb)) / 1024;
  console.log(
    `${name.padEnd(8)} ${times[name].toFixed(0).padStart(6)} ms, at most ${peak.toFixed(0)} MB${name === 'docker' ? ' (the client alone)' : ''}`,
  );
}
const peers = names.filter((name) => name === 'docker' || name === 'podman').map((name) => times[name]);
if (peers.length > 0)
  console.log(`tinyctr / the faster of docker and podman: ${(times.tinyctr / Math.min(...peers)).toFixed(2)}`);
console.log(`tinyctr / tar -xzf one after another: ${(times.tinyctr / times.tar).toFixed(2)}`);
process.exit();
