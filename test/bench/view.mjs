// What the benches of containers have in common: root, a pure cgroup v2 view, a folder in memory, medians and --json.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Starts this program again in mount namespaces of its own, unless it is there already. */
export function enterView() {
  const again = wordsOfView();
  if (!again) return;
  const { words, env } = again;
  process.exit(
    spawnSync('unshare', ['-m', 'sh', '-c', `${VIEW}; exec "$@"`, ...words], { stdio: 'inherit', env }).status ?? 1,
  );
}

/**
 * In a pid namespace as well: all processes that are seen are this program's doing, and none outlives it. The shell stays as process 1, and
 * reaps. SIGINT and SIGTERM come as SIGINT to the program, which is to clean up.
 */
export async function enterOwnWorld() {
  const again = wordsOfView();
  if (!again) return;
  const { words, env } = again;
  const namespaces = ['-m', '-p', '--fork', '--kill-child', '--mount-proc'];
  const world = spawn('unshare', [...namespaces, 'sh', '-c', `${VIEW}; "$@"; exit`, ...words], {
    stdio: 'inherit',
    env,
    detached: true,
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.kill(-world.pid, 'SIGINT'));
  process.exit(await new Promise((resolve) => world.once('exit', (code) => resolve(code ?? 1))));
}

// No controllers, but the v2 code path of every runtime, and nothing that touches the host's own mounts.
const VIEW = 'mount --make-rprivate /; umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup';

/** Undefined in the view. */
function wordsOfView() {
  if (process.getuid() !== 0) {
    console.error('bench: needs root');
    process.exit(1);
  }
  if (process.env.TINYCTR_BENCH_INSIDE) return undefined;
  const env = { ...process.env, TINYCTR_BENCH_INSIDE: '1' };
  delete env.NODE_EXTRA_CA_CERTS; // 40 to 50 ms of Node 20's start; the launcher drops it, a bare node would not
  return { words: ['sh', process.execPath, ...process.argv.slice(1)], env };
}

/** In memory: what the disk does when folders go is the disk's affair (ext4 with discard and no journal: 4 ms a folder). */
export function makeScratch() {
  const scratch = mkdtempSync(join(tmpdir(), 'tinyctr-bench-'));
  must('mount', '-t', 'tmpfs', 'bench', scratch);
  process.on('exit', () => {
    spawnSync('umount', ['--lazy', scratch]); // with what podman left mounted below
    rmdirSync(scratch);
  });
  return scratch;
}

/** Its output goes nowhere: a process that it leaves behind would keep a pipe open. */
export function must(command, ...args) {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

export const has = (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** With `--json FILE`. */
export function writeJson(results) {
  const json = process.argv.indexOf('--json');
  if (json > 0) writeFileSync(process.argv[json + 1], `${JSON.stringify(results, null, 2)}\n`);
}
