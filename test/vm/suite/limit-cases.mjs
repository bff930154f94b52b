// The cases of docs/limits.md: what is asked of a runtime in config.json's terms, and what the kernel says came of it. Each gives
// [verdict, measured]: the verdict is compared with the page, the measured words are only shown there. Runs in the guest.
import { readdirSync, writeFileSync } from 'node:fs';
import { loopDevice } from './disks.mjs';
import { sleep, until } from './oci.mjs';
import { CGROUPS, numberOf, runIn, start } from './runtimes.mjs';
import { run } from './support.mjs';

const MIB = 1024 * 1024;
/** A buffer of so many MiB, filled: all of it is memory. */
const hog = (mib) => `dd if=/dev/zero of=/dev/null bs=${mib}M count=1 2>/dev/null`;
const FOREVER = 'while :; do :; done';
const kept = (measured = '') => ['kept', measured];
const broken = (measured) => ['not kept', measured];
const mib = (text) => (text === '' || text === 'max' ? text || 'missing' : `${Math.round(Number(text) / MIB)} MiB`);

// Starts processes without end, and watches with the shell's own means only (its own forks would fail): waits until the
// kernel has refused one, then goes on counting for a while.
export const FORK_BOMB = `
  bomb() { bomb | bomb & }
  bomb 2>/dev/null
  most=0
  refused=0
  rounds=0
  while [ $refused = 0 ] || [ $rounds -lt 200 ]; do
    read name refused < /sys/fs/cgroup/pids.events
    read now < /sys/fs/cgroup/pids.current
    if [ $now -gt $most ]; then most=$now; fi
    rounds=$((rounds + 1))
  done
  echo "most $most"
`;

/** CPU time that a cgroup takes while `ms` pass, in microseconds. */
async function usage(containers, ms) {
  const read = () => containers.map(({ file }) => numberOf(file('cpu.stat'), 'usage_usec'));
  const before = read();
  const began = performance.now();
  await sleep(ms);
  const after = read();
  return { us: after.map((us, i) => us - before[i]), tookUs: (performance.now() - began) * 1000 };
}

/** A container that runs `script` until `use` is through with it. */
async function during(runtime, { script, ...what }, use) {
  const container = start(runtime, { ...what, script: `echo ready; ${script}` });
  try {
    await until(`${container.id} runs`, () => container.ready);
    return await use(container);
  } finally {
    await container.kill();
  }
}

export const cases = [
  {
    id: 'memory',
    title: 'More memory than the limit: the kernel kills, the container ends with 137',
    asked: 'memory.limit 32 MiB without swap, the program takes 64',
    async try(runtime) {
      const resources = { memory: { limit: 32 * MIB, swap: 32 * MIB } };
      const watched = await runIn(runtime, { resources, script: `${hog(64)}; cat /sys/fs/cgroup/memory.events` });
      const { code } = await runIn(runtime, { resources, script: `exec ${hog(64)}` });
      const kills = numberOf(watched.stdout, 'oom_kill');
      return code === 137 && kills === 1
        ? kept('137, oom_kill 1')
        : broken(`${code}, oom_kill ${kills} ${watched.stderr}`);
    },
  },
  {
    id: 'swap',
    title: 'Swap is what is left of the sum of both',
    asked: 'memory.limit 32 MiB, memory.swap 64 MiB: 48 fit, 96 do not',
    async try(runtime) {
      const resources = { memory: { limit: 32 * MIB, swap: 64 * MIB } };
      const script = `cat /sys/fs/cgroup/memory.swap.max; ${hog(48)}; echo $?; ${hog(96)}; echo $?`;
      const { stdout, stderr } = await runIn(runtime, { resources, script });
      const [swap, fits, tooMuch] = stdout.trim().split('\n');
      const measured = `swap ${mib(swap)}: ${fits}, ${tooMuch}`;
      return measured === 'swap 32 MiB: 0, 137' ? kept(measured) : broken(`${measured} ${stderr}`);
    },
  },
  {
    id: 'no-swap',
    title: 'Swap equal to the limit: none',
    asked: 'memory.limit 32 MiB, memory.swap 32 MiB: 48 do not fit',
    async try(runtime) {
      const resources = { memory: { limit: 32 * MIB, swap: 32 * MIB } };
      const { stdout } = await runIn(runtime, {
        resources,
        script: `cat /sys/fs/cgroup/memory.swap.max; ${hog(48)}; echo $?`,
      });
      const [swap, status] = stdout.trim().split('\n');
      return swap === '0' && status === '137' ? kept('137') : broken(`swap ${swap}: ${status}`);
    },
  },
  {
    id: 'pids',
    title: 'A fork bomb stays within its limit, the machine stays usable',
    asked: 'pids.limit 20',
    async try(runtime) {
      let running = true;
      const container = start(runtime, { resources: { pids: { limit: 20 } }, script: FORK_BOMB });
      const ended = container.ended.finally(() => {
        running = false;
      });
      let rest = true;
      while (running) rest &&= (await run('true', [])).code === 0;
      const { stdout, stderr } = await ended;
      const most = Number(/^most (\d+)$/m.exec(stdout)?.[1]);
      return most > 1 && most <= 20 && rest ? kept('20 processes') : broken(`${most} processes ${stderr}`);
    },
  },
  {
    id: 'quota',
    title: 'Half a CPU is half a CPU, and the throttling is counted',
    asked: 'cpu.quota 50 ms of 100 ms',
    try: (runtime) =>
      during(
        runtime,
        { resources: { cpu: { quota: 50_000, period: 100_000 } }, script: FOREVER },
        async (container) => {
          const { us, tookUs } = await usage([container], 3000);
          const throttled = numberOf(container.file('cpu.stat'), 'nr_throttled');
          const share = us[0] / tookUs;
          const measured = `${share.toFixed(1)} CPUs`;
          return share > 0.3 && share < 0.6 && throttled > 5
            ? kept('half a CPU')
            : broken(`${measured}, throttled ${throttled} times`);
        },
      ),
  },
  {
    id: 'weights',
    title: 'Two weights share one CPU in their proportion',
    asked: 'unified cpu.weight 300 and 100, both on CPU 0',
    try: (runtime) => {
      const what = (weight) => ({
        resources: { cpu: { cpus: '0' }, unified: { 'cpu.weight': weight } },
        script: FOREVER,
      });
      return during(runtime, what('300'), (heavy) =>
        during(runtime, what('100'), async (light) => {
          const { us } = await usage([heavy, light], 8000);
          const ratio = us[0] / us[1];
          return Math.abs(ratio / 3 - 1) <= 0.15 ? kept('3 : 1') : broken(`${ratio.toFixed(2)} : 1`);
        }),
      );
    },
  },
  {
    id: 'shares',
    title: 'Half the default of shares becomes a weight',
    asked: 'cpu.shares 512',
    async try(runtime) {
      const { stdout, stderr } = await runIn(runtime, {
        resources: { cpu: { shares: 512 } },
        script: 'cat /sys/fs/cgroup/cpu.weight',
      });
      const weight = stdout.trim();
      if (weight === '59') return kept('cpu.weight 59');
      return weight === '20' ? ['by the older formula', 'cpu.weight 20'] : broken(`cpu.weight ${weight} ${stderr}`);
    },
  },
  {
    id: 'burst',
    title: 'Time that was saved may be spent at once',
    asked: 'cpu.quota 20 ms of 100 ms, cpu.burst 20 ms',
    async try(runtime) {
      // Rest, then work for as long as two clock ticks last, again and again.
      const work =
        'read a b < /proc/uptime; c=$a; n=0; while [ $n -lt 3 ]; do read a b < /proc/uptime; [ $a = $c ] || { n=$((n + 1)); c=$a; }; done';
      const script = `i=0; while [ $i -lt 12 ]; do sleep 0.4; ${work}; i=$((i + 1)); done; cat /sys/fs/cgroup/cpu.max.burst /sys/fs/cgroup/cpu.stat`;
      const { stdout, stderr } = await runIn(runtime, {
        resources: { cpu: { quota: 20_000, period: 100_000, burst: 20_000 } },
        script,
      });
      const burst = stdout.split('\n')[0];
      if (burst === '0') return ['ignored', 'cpu.max.burst 0'];
      return burst === '20000' && numberOf(stdout, 'nr_bursts') > 0
        ? kept('bursts counted')
        : broken(`${stdout} ${stderr}`);
    },
  },
  {
    id: 'cpuset',
    title: 'One CPU of two',
    asked: 'cpu.cpus "1"',
    async try(runtime) {
      const script = 'grep Cpus_allowed_list /proc/self/status';
      const { stdout, stderr } = await runIn(runtime, { resources: { cpu: { cpus: '1' } }, script });
      return /:\s1$/.test(stdout.trim()) ? kept('CPU 1') : broken(stdout + stderr);
    },
  },
  {
    id: 'io',
    title: 'A disk is read no faster than allowed',
    asked: 'blockIO.throttleReadBpsDevice 1 MiB a second, 3 MiB read from a loop device',
    async try(runtime) {
      const disk = loopDevice();
      const now = 'read up idle < /proc/uptime';
      const script = `${now}; echo $up; dd if=/dev/disk of=/dev/null bs=64k count=48 2>/dev/null; echo $?; ${now}; echo $up`;
      const { major, minor } = disk;
      const resources = {
        devices: [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'b', major, minor, access: 'r' },
        ],
        blockIO: { throttleReadBpsDevice: [{ major, minor, rate: MIB }] },
      };
      const change = (spec) => {
        spec.linux.devices = [{ path: '/dev/disk', type: 'b', major, minor, fileMode: 0o600, uid: 0, gid: 0 }];
      };
      const { stdout, stderr } = await runIn(runtime, { resources, script, change });
      disk.free();
      const [before, status, after] = stdout.trim().split('\n').map(Number);
      const seconds = after - before;
      return status === 0 && seconds > 1.8 && seconds < 20 ? kept('held back') : broken(`${stdout} ${stderr}`);
    },
  },
  {
    id: 'freeze',
    title: 'Four busy processes stand still while it is paused, and go on',
    asked: 'pause, resume',
    try: (runtime) =>
      during(runtime, { script: `for i in 1 2 3; do ${FOREVER} & done; ${FOREVER}` }, async (container) => {
        await container.call('pause', container.id);
        const { status } = JSON.parse((await container.call('state', container.id)).stdout);
        const frozen = await usage([container], 700);
        await container.call('resume', container.id);
        const thawed = await usage([container], 700);
        const measured = `${status}, ${frozen.us[0]} µs while frozen`;
        return status === 'paused' && frozen.us[0] < 5000 && thawed.us[0] > 50_000
          ? kept('no CPU time while paused')
          : broken(measured);
      }),
  },
  {
    id: 'update',
    title: 'Limits of a running container change',
    asked: 'update to memory.limit 48 MiB, cpu.quota 30 ms, pids.limit 30',
    try: (runtime) => {
      const resources = { memory: { limit: 32 * MIB }, cpu: { quota: 50_000, period: 100_000 }, pids: { limit: 20 } };
      return during(runtime, { resources, script: FOREVER }, async (container) => {
        const file = `/tmp/${container.id}.json`;
        writeFileSync(
          file,
          JSON.stringify({ memory: { limit: 48 * MIB }, cpu: { quota: 30_000, period: 100_000 }, pids: { limit: 30 } }),
        );
        const { stderr } = await container.call('update', '--resources', file, container.id);
        const measured = [
          mib(container.file('memory.max')),
          container.file('cpu.max'),
          container.file('pids.max'),
        ].join(', ');
        return measured === '48 MiB, 30000 100000, 30' ? kept('48 MiB, 30 ms, 30') : broken(`${measured} ${stderr}`);
      });
    },
  },
  {
    id: 'nested',
    title: 'The container makes cgroups of its own, with limits; all are gone at its end',
    asked: 'a writable cgroup mount, memory.limit 64 MiB; inside, one of 16 MiB',
    async try(runtime) {
      const script = `cd /sys/fs/cgroup && mkdir main small && echo 0 > main/cgroup.procs && echo +memory > cgroup.subtree_control
        echo 16M > small/memory.max; echo 0 > small/memory.swap.max
        sh -c 'echo 0 > small/cgroup.procs; exec ${hog(32)}'; echo $?
        echo 1G > memory.max; echo $?; cat memory.max`;
      const resources = { memory: { limit: 64 * MIB } };
      const { stdout, stderr } = await runIn(runtime, { resources, script, change: writableCgroup, parent: 'nested' });
      const [killed] = stdout.trim().split('\n');
      const left = readdirSync(`${CGROUPS}/nested`, { withFileTypes: true }).filter((entry) => entry.isDirectory());
      return killed === '137' && left.length === 0
        ? kept('137 inside, the container lives')
        : broken(`${stdout} ${stderr} ${left.map(({ name }) => name)}`);
    },
  },
  {
    id: 'own-limit',
    title: 'It cannot raise its own limit',
    asked: 'the same mount; echo 1G > memory.max inside (the hierarchy is mounted with nsdelegate)',
    async try(runtime) {
      const script = 'echo 1G > /sys/fs/cgroup/memory.max; cat /sys/fs/cgroup/memory.max';
      const { stdout, stderr } = await runIn(runtime, {
        resources: { memory: { limit: 64 * MIB } },
        script,
        change: writableCgroup,
      });
      return stdout.trim() === String(64 * MIB) ? kept('64 MiB') : broken(`${mib(stdout.trim())} ${stderr}`);
    },
  },
  {
    id: 'devices',
    title: 'A disk that no rule allows can’t be read, one with a rule can',
    asked: 'devices: deny all; then allow b MAJOR:MINOR r',
    async try(runtime) {
      const disk = loopDevice();
      const { major, minor } = disk;
      const read = (rules) =>
        runIn(runtime, {
          script: `mknod /tmp/disk b ${major} ${minor} && dd if=/tmp/disk of=/dev/null bs=512 count=1 2>&1; echo $?`,
          resources: { devices: [{ allow: false, access: 'rwm' }, ...rules] },
          change: (spec) => {
            spec.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] });
            for (const set of Object.values(spec.process.capabilities))
              if (!set.includes('CAP_MKNOD')) set.push('CAP_MKNOD');
          },
        });
      const denied = await read([]);
      const allowed = await read([{ allow: true, type: 'b', major, minor, access: 'rm' }]);
      disk.free();
      const refused = denied.stdout.includes('Operation not permitted');
      const may = allowed.stdout.trim().endsWith('\n0');
      return refused && may
        ? kept('EPERM')
        : broken(`${denied.stdout} ${denied.stderr} / ${allowed.stdout} ${allowed.stderr}`);
    },
  },
];

function writableCgroup(spec) {
  const mount = spec.mounts.find(({ type }) => type === 'cgroup');
  mount.options = ['nosuid', 'noexec', 'nodev', 'rw'];
  if (!spec.linux.namespaces.some(({ type }) => type === 'cgroup')) spec.linux.namespaces.push({ type: 'cgroup' });
}
