// npm run bench:idle: what containers cost that only wait. First the memory of one and of twenty, beside podman's conmon and
// containerd's shim in the same run: PSS of every process that is not the container's own, all others having ended. Then
// a thousand at once: how long ps, logs, exec and stop take with the supervisor asleep and awake, how long each start takes
// the supervisor, from the request on its socket to the answer, and what all of it needs in memory.
// Runs in mount and pid namespaces of its own, so nothing of it can stay. COUNT sets the thousand, ROUNDS how often each verb.
// Needs root; what is not installed is left out, and said so.
// usage: npm run bench:idle [-- --json FILE]
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { enterOwnWorld, has, makeScratch, median, project, writeJson } from './view.mjs';

const count = Number(process.env.COUNT ?? 1000);
const rounds = Number(process.env.ROUNDS ?? 20);
/** Many times what any of these takes to come to rest. */
const REST_MS = 2000;

await enterOwnWorld();
spawnSync('mount', ['-t', 'tmpfs', 'bench', '/run']); // podman's, and what else wants to be there
const scratch = makeScratch();
const runRoot = `${scratch}/run`;
const tinyctr = [`${project}/bin/tinyctr`, '--root', `${scratch}/root`, '--run-root', runRoot];
const peerCgroup = `/tinyctr-bench-${process.pid}`;
process.env.TINYCTR_SUPERVISOR_IDLE_MS = '500';

const undo = [];
let leaving = false;
async function leave(status) {
  leaving = true;
  for (const act of undo.splice(0).reverse())
    try {
      await act();
    } catch (error) {
      console.error(error);
    }
  process.exit(status);
}
process.once('SIGINT', () => void leave(130));
process.on('uncaughtException', (error) => {
  if (leaving) return; // what was under way is interrupted as well
  console.error(error);
  void leave(1);
});

let calls = 0;
/** Its standard output. Both are files, as in a script: what stays may hold them open. Throws what it said if it failed. */
async function must(file, ...words) {
  const path = `${scratch}/call-${calls++}`;
  const [out, errors] = [openSync(`${path}.out`, 'w'), openSync(`${path}.err`, 'w')];
  const child = spawn(file, words, { stdio: ['ignore', out, errors] });
  const status = await new Promise((resolve) => child.once('exit', resolve));
  for (const fd of [out, errors]) closeSync(fd);
  const [text, said] = [readFileSync(`${path}.out`, 'utf8'), readFileSync(`${path}.err`, 'utf8')];
  for (const end of ['out', 'err']) rmSync(`${path}.${end}`);
  if (status !== 0) throw new Error(`${file} ${words.join(' ')}: ${said}`);
  return text.trim();
}
const ours = (...words) => must(tinyctr[0], ...tinyctr.slice(1), ...words);

const processes = () => readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
const read = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended
  }
};
const words = (pid) => read(`/proc/${pid}/cmdline`).split('\0');
const pidsOf = (program) => processes().filter((pid) => words(pid).some((word) => word.endsWith(program)));
const pssOf = (pid) => Number(/^Pss:\s+([0-9]+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
const namespaceOf = (pid) => {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
};
const supervisorIsThere = () => pidsOf('/tinyctr-supervisor.cjs').length > 0;
async function until(condition) {
  while (!condition()) await sleep(20);
}

/** kB of what came since `before`: outside of the containers, by name, and inside. */
function memorySince(before) {
  const here = namespaceOf('self');
  const runtime = {};
  let own = 0;
  for (const pid of processes().filter((pid) => !before.has(pid))) {
    const kB = pssOf(pid);
    const name = read(`/proc/${pid}/comm`).trim();
    if (namespaceOf(pid) !== here) own += kB;
    else if (kB > 0) runtime[name] = (runtime[name] ?? 0) + kB;
  }
  return { runtime, own };
}

await ours('run', '--rm', 'busybox', 'true');
const [layer] = readdirSync(`${scratch}/root/layers`).filter((name) => /^[0-9a-f]{32}$/.test(name));
const rootfs = `${scratch}/rootfs`;
cpSync(`${scratch}/root/layers/${layer}`, rootfs, { recursive: true, verbatimSymlinks: true });
undo.push(async () => {
  // Its containers end with it.
  for (const pid of pidsOf('/keeper').filter((pid) => words(pid).includes(runRoot)))
    process.kill(Number(pid), 'SIGKILL');
  await until(() => !supervisorIsThere());
  await ours('cleanup');
});

/** Each starts `number` idle containers in the background, and returns what ends them. */
const candidates = {
  tinyctr: {
    program: 'sh',
    async start(number) {
      const ids = [];
      for (let i = 0; i < number; i++) ids.push(await ours('run', '-d', 'busybox', 'sleep', '100000'));
      await until(() => !supervisorIsThere());
      return async () => {
        await ours('rm', '-f', ...ids);
        await until(() => pidsOf('/keeper').length === 0);
      };
    },
  },
  'podman, conmon': { program: 'podman', start: startByPodman },
  'containerd, shim': { program: 'ctr', start: startByContainerd },
};

async function startByPodman(number) {
  const podman = ['--root', `${scratch}/podman`, '--runroot', `${scratch}/podman-run`, '--cgroup-manager', 'cgroupfs'];
  // runc: crun insists on RLIM_MEMLOCK, which needs CAP_SYS_RESOURCE
  const call = (...more) => must('podman', ...podman, '--events-backend', 'none', '--runtime', 'runc', ...more);
  const limits = ['--pids-limit', '0', '--ulimit', 'nofile=1024:20000', '--ulimit', 'nproc=32768:32768'];
  const run = ['run', '-d', '--network', 'none', '--cgroup-parent', peerCgroup, ...limits, '--rootfs', `${rootfs}:O`];
  for (let i = 0; i < number; i++) await call(...run, 'sleep', '100000');
  return () => call('rm', '-f', '-a', '-t', '0');
}

let started = 0;
async function startByContainerd(number) {
  const folder = `${scratch}/containerd`;
  const socket = `${folder}/socket`;
  if (!existsSync(folder)) {
    mkdirSync(folder);
    const plugins = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]';
    const config = `version = 2\nroot = "${folder}/root"\nstate = "${folder}/state"\n${plugins}\n[grpc]\naddress = "${socket}"\n`;
    writeFileSync(`${folder}/config.toml`, config);
    await must('runc', 'spec', '--bundle', folder);
    const spec = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
    Object.assign(spec.process, { terminal: false, args: ['sleep', '100000'] });
    spec.root = { path: rootfs, readonly: true };
    Object.assign(spec.linux, { cgroupsPath: peerCgroup, resources: {} });
    writeFileSync(`${folder}/config.json`, JSON.stringify(spec));
  }
  const log = openSync(`${folder}/log`, 'a');
  const daemon = spawn('containerd', ['--config', `${folder}/config.toml`], { stdio: ['ignore', log, log] });
  undo.push(() => daemon.kill());
  const call = (...more) => must('ctr', '--address', socket, ...more);
  await until(() => read(`${folder}/log`).split('containerd successfully booted').length > started + 1);
  started++;
  const ids = [];
  for (let i = 0; i < number; i++) {
    const id = `bench-${started}-${i}`;
    const spec = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
    spec.linux.cgroupsPath = `${peerCgroup}/${id}`;
    writeFileSync(`${folder}/${id}.json`, JSON.stringify(spec));
    await call('run', '-d', '--config', `${folder}/${id}.json`, id);
    ids.push(id);
  }
  return async () => {
    for (const id of ids) {
      await call('task', 'kill', '--signal', 'SIGKILL', id);
      await call('task', 'delete', id).catch(() => undefined); // it may still end
      for (
        let i = 0;
        i < 100 &&
        (await call('container', 'rm', id).then(
          () => false,
          () => true,
        ));
        i++
      )
        await sleep(50);
    }
    daemon.kill();
    await until(() => daemon.exitCode !== null || daemon.signalCode !== null);
  };
}

const peers = `/sys/fs/cgroup${peerCgroup}`;
undo.push(async () => {
  if (!existsSync(peers)) return;
  writeFileSync(`${peers}/cgroup.kill`, '1');
  await until(() => read(`${peers}/cgroup.events`).includes('populated 0'));
  for (const entry of readdirSync(peers, { withFileTypes: true }))
    if (entry.isDirectory()) rmdirSync(`${peers}/${entry.name}`);
  rmdirSync(peers);
});

const results = { idle: {}, many: {} };
console.log('PSS of all processes that are not the containers’ own, kB (a container)');
for (const [name, { program, start }] of Object.entries(candidates)) {
  if (!has(program) || (program === 'ctr' && !(has('containerd') && has('runc')))) {
    console.log(`bench: ${program} is not installed: left out`);
    continue;
  }
  for (const number of [1, 20]) {
    const before = new Set(processes());
    const end = await start(number);
    await sleep(REST_MS);
    const { runtime } = memorySince(before);
    await end();
    const daemon = runtime.containerd ?? 0; // one for all, whether or not there are containers
    const total = Object.values(runtime).reduce((sum, kB) => sum + kB, 0) - daemon;
    results.idle[name] ??= {};
    results.idle[name][number] = { kB: total, daemon, runtime };
    const beside = daemon > 0 ? `, and containerd itself ${daemon}` : '';
    console.log(
      `${name.padEnd(18)} ${String(number).padStart(3)}: ${String(total).padStart(7)} (${(total / number).toFixed(0)})${beside}`,
    );
  }
}
const idle = results.idle;
for (const name of Object.keys(idle).filter((name) => name !== 'tinyctr'))
  console.log(
    `tinyctr / ${name}: ${[1, 20].map((number) => `${(idle.tinyctr[number].kB / idle[name][number].kB).toFixed(3)} for ${number}`).join(', ')}`,
  );
const one = idle.tinyctr[1].kB;
console.log(`one idle container: ${one} kB (to reach: 300${one <= 300 ? '' : ', missed'})`);

/** One request on the supervisor's socket, from the connection to the answer, ms. */
function request(asked) {
  const socket = connect(`${runRoot}/.supervisor.sock`);
  let text = '';
  let sent;
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.endsWith('\n')) return;
      const reply = JSON.parse(text.trim().split('\n').at(-1));
      if (reply.error) reject(new Error(reply.error.message));
      if (sent === undefined) {
        sent = process.hrtime.bigint();
        socket.write(`${JSON.stringify(asked)}\n`);
      } else if (reply.done) {
        resolve(Number(process.hrtime.bigint() - sent) / 1e6);
        socket.destroy();
      }
    });
  });
}

const at = (values, part) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))];
const spread = (values) => ({ median: median(values), p95: at(values, 0.95), worst: Math.max(...values) });
const shown = ({ median, p95, worst }) => [median, p95, worst].map((ms) => ms.toFixed(1).padStart(7)).join(' ');

/** Those that are stopped hear SIGTERM. */
const picked = [...Array(count).keys()].sort(() => Math.random() - 0.5).slice(0, 2 * rounds);
const stoppable = new Set(picked);
const ids = Array(count);
let next = 0;
async function create() {
  for (let i = next++; i < count; i = next++) {
    const command = stoppable.has(i)
      ? ['--init', 'busybox', 'sh', '-c', 'echo started; exec sleep 100000']
      : ['busybox', 'sleep', '100000'];
    ids[i] = await ours('create', '--name', `idle-${i}`, ...command);
  }
}
await Promise.all([create(), create()]);

const available = () => Number(/^MemAvailable:\s+([0-9]+)/m.exec(read('/proc/meminfo'))[1]);
const before = new Set(processes());
const availableBefore = available();
await ours('info');
let awake = connect(`${runRoot}/.supervisor.sock`); // it stays while somebody is connected
const starts = [];
for (const id of ids) starts.push(await request({ op: 'start', root: `${scratch}/root`, id }));
const first = spread(starts.slice(0, 200));
results.many.starts = { first200: first, all: spread(starts), last200: spread(starts.slice(-200)), values: starts };
console.log(`\n${count} at once: a start in the supervisor, ms: median, p95, worst (to reach: 15)`);
console.log(`the first 200 ${shown(first)}, the very first ${starts[0].toFixed(1)}`);
console.log(`all           ${shown(spread(starts))}`);
console.log(`the last 200  ${shown(spread(starts.slice(-200)))}`);

awake.destroy();
await until(() => !supervisorIsThere());
await sleep(REST_MS);
const { runtime, own } = memorySince(before);
const kernel = availableBefore - available();
results.many.memory = { runtime, own, taken: kernel };
const total = Object.values(runtime).reduce((sum, kB) => sum + kB, 0);
console.log(
  `kB a container: ${(total / count).toFixed(1)} of the runtime, ${(own / count).toFixed(0)} of its own processes; the machine has ${(kernel / count).toFixed(0)} less (with the kernel's part)`,
);

const reference = (i) => (i % 2 ? `idle-${i}` : ids[i].slice(0, 12));
const verbs = {
  ps: () => ['ps'],
  logs: (i) => ['logs', reference(i)],
  exec: (i) => ['exec', reference(i), 'true'],
  stop: (i) => ['stop', reference(i)],
};
console.log(`a command with ${count} idle containers, ms: median, p95, worst of ${rounds} (to reach: 400)`);
for (const state of ['asleep', 'awake']) {
  if (state === 'awake') {
    await ours('info');
    awake = connect(`${runRoot}/.supervisor.sock`);
  }
  for (const [verb, command] of Object.entries(verbs)) {
    const times = [];
    for (let round = 0; round < rounds; round++) {
      if (state === 'asleep') await until(() => !supervisorIsThere());
      const start = process.hrtime.bigint();
      await ours(...command(picked[state === 'awake' ? round + rounds : round]));
      times.push(Number(process.hrtime.bigint() - start) / 1e6);
    }
    results.many[`${verb}, ${state}`] = spread(times);
    console.log(`${verb}, ${state}`.padEnd(14) + shown(spread(times)));
  }
}
awake.destroy();
writeJson(results);
await leave(0);
