// What tinyctr run and tinyctr limit say of limits that were hit, and that their options reach the kernel's files. Runs in the guest.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { loopDevice, swapOn } from './disks.mjs';
import { FORK_BOMB } from './limit-cases.mjs';
import { until } from './oci.mjs';
import { CGROUPS } from './runtimes.mjs';
import { checkout, line, run, tinyctr } from './support.mjs';

const HOG = 'dd if=/dev/zero of=/dev/null bs=64M count=1';
const shell = (script, ...options) => tinyctr('run', '--rm', ...options, 'busybox', 'sh', '-c', script);
const limit = (script, ...options) => tinyctr('limit', ...options, '--', 'sh', '-c', script);
const read = (...files) => files.map((file) => `cat /sys/fs/cgroup/${file}`).join('; ');
/** The only sentence on standard error, or the whole of it if there are more. */
const told = ({ stderr }) => /^tinyctr: (.*)\n$/.exec(stderr)?.[1] ?? stderr;

before(() => swapOn());

describe('a kill for memory', () => {
  const sentence = /^killed by the kernel: memory limit 32 MiB reached, peak 32 MiB$/;

  test('is told by run, and the record has it', async () => {
    const result = await tinyctr(
      'run',
      '--name',
      'hog',
      '--memory',
      '32m',
      '--memory-swap',
      '32m',
      'busybox',
      ...HOG.split(' '),
    );
    assert.equal(result.code, 137);
    assert.match(told(result), sentence);
    const { stdout } = await tinyctr('ps', '-a');
    assert.match(stdout, /Exited \(137\) .* ago, out of memory +hog$/m);
    assert.equal((await tinyctr('rm', 'hog')).code, 0);
  });

  test('is told by limit', async () => {
    const result = await tinyctr('limit', '--memory', '32m', '--memory-swap', '32m', '--', ...HOG.split(' '));
    assert.equal(result.code, 137);
    assert.match(told(result), sentence);
  });

  test('is told where the container lives on', async () => {
    const result = await shell(`${HOG}; exit 3`, '--memory', '32m', '--memory-swap', '32m');
    assert.equal(result.code, 3, result.stderr);
    assert.match(result.stderr, /^tinyctr: the kernel killed 1 process: memory limit 32 MiB reached, peak 32 MiB$/m);
  });

  test('is told as a limit above, where it is one', async () => {
    mkdirSync(`${CGROUPS}/lesson`);
    writeFileSync(`${CGROUPS}/lesson/memory.max`, '32M');
    writeFileSync(`${CGROUPS}/lesson/memory.swap.max`, '0');
    for (const options of [['--memory', '128m'], []]) {
      const result = await limit(`exec ${HOG}`, '--cgroup-parent', '/lesson', ...options);
      assert.equal(result.code, 137, result.stderr);
      assert.match(
        told(result),
        /^killed by the kernel: out of memory, by the limit of a cgroup above it or the machine’s/,
      );
    }
    rmdirSync(`${CGROUPS}/lesson`);
  });

  test('is not told of a container that somebody else killed', async () => {
    const result = await shell('kill -KILL $$; sleep 1; exec kill -KILL 1', '--memory', '32m', '--init');
    assert.doesNotMatch(result.stderr, /memory/);
  });
});

test('refused processes are told', async () => {
  for (const result of [
    await shell(FORK_BOMB, '--pids-limit', '20'),
    await limit('for i in 1 2 3; do sleep 1 & done; wait', '--pids-limit', '2'),
  ])
    assert.match(result.stderr, /^tinyctr: (\d+ times|once) a process was refused: limit (20|2)$/m);
});

test('the record of a container has refused processes and throttling as well', async () => {
  const busy = 'timeout 3 sh -c "while :; do :; done"';
  for (const [name, script, options, status] of [
    [
      'bomb',
      'sleep 1 & sleep 1 & sleep 1 & wait',
      ['--pids-limit', '2'],
      /Exited \(\d+\) .* ago, processes refused +bomb$/m,
    ],
    ['slow', `${busy}; true`, ['--cpus', '0.2'], /Exited \(0\) .* ago, throttled +slow$/m],
  ]) {
    const { stderr } = await tinyctr('run', '--name', name, ...options, 'busybox', 'sh', '-c', script);
    assert.match((await tinyctr('ps', '-a')).stdout, status, stderr);
    assert.equal((await tinyctr('rm', name)).code, 0);
  }
});

test('throttling is told where it is most of the time', async () => {
  const busy = 'timeout 4 sh -c "while :; do :; done"; true';
  const held = await shell(busy, '--cpus', '0.2');
  assert.match(held.stderr, /^tinyctr: throttled in \d+ of \d+ periods, \d+\.\d s in all: limit 0\.2 CPUs$/m);
  assert.equal((await shell('sleep 2', '--cpus', '0.2')).stderr, '');
});

test('nothing is said within the limits', async () => {
  const { stderr, code } = await shell('true', '--memory', '64m', '--pids-limit', '50', '--cpus', '1');
  assert.deepEqual({ stderr, code }, { stderr: '', code: 0 });
});

test('docker’s options reach the kernel’s files', async () => {
  const disk = loopDevice();
  const files = [
    'memory.max',
    'memory.swap.max',
    'memory.low',
    'cpu.max',
    'cpu.weight',
    'cpuset.cpus',
    'cpuset.mems',
    'pids.max',
    'io.max',
  ];
  const options = [
    '--memory',
    '64m',
    '--memory-swap',
    '96m',
    '--memory-reservation',
    '32m',
    '--cpu-quota',
    '50000',
    '--cpu-period',
    '200000',
  ];
  options.push('--cpu-shares', '512', '--cpuset-cpus', '0', '--cpuset-mems', '0', '--pids-limit', '50');
  options.push('--device-read-bps', `${disk.path}:1mb`, '--device-write-bps', `${disk.path}:2mb`);
  options.push('--device-read-iops', `${disk.path}:30`, '--device-write-iops', `${disk.path}:20`);
  const { stdout, stderr } = await shell(read(...files), ...options);
  disk.free();
  const io = `${disk.major}:${disk.minor} rbps=1048576 wbps=2097152 riops=30 wiops=20`;
  assert.deepEqual(
    stdout.split('\n'),
    ['67108864', '33554432', '33554432', '50000 200000', '59', '0', '0', '50', io, ''],
    stderr,
  );
});

test('--blkio-weight is io.weight, or BFQ’s own', async () => {
  const { stdout, stderr } = await shell(
    'cat /sys/fs/cgroup/io.bfq.weight 2>/dev/null || cat /sys/fs/cgroup/io.weight',
    '--blkio-weight',
    '505',
  );
  assert.match(stdout, /^default (5000|505)$/m, stderr);
});

test('--memory-swap -1 has no end, --device-cgroup-rule opens a disk, --cgroupns host shows the path', async () => {
  const disk = loopDevice();
  const script = `cat /sys/fs/cgroup/memory.swap.max; mknod /dev/d b ${disk.major} ${disk.minor}; dd if=/dev/d of=/dev/null count=1 2>/dev/null; echo $?`;
  const rule = ['--device-cgroup-rule', `b ${disk.major}:* rm`];
  assert.equal((await shell(script, '--memory', '64m', '--memory-swap', '-1', ...rule)).stdout, 'max\n0\n');
  assert.equal((await shell(script, '--memory', '64m', '--memory-swap', '-1')).stdout, 'max\n1\n');
  disk.free();
  const { stdout } = await shell('cat /proc/self/cgroup', '--cgroupns', 'host', '--cgroup-parent', '/tinyctr/sub');
  assert.match(stdout, /^0::\/tinyctr\/sub\/[0-9a-f]{64}$/m);
  rmdirSync(`${CGROUPS}/tinyctr/sub`);
});

test('cgroup draw shows limits and use, within 80 columns', async () => {
  const args = ['limit', '--memory', '64m', '--pids-limit', '10', '--cpus', '0.5', '--', 'sleep', '1000'];
  const child = spawn(`${checkout}/bin/tinyctr`, ['--run-root', '/tmp/draw', ...args], {
    stdio: 'ignore',
    timeout: 100_000,
  });
  const procs = (name) => `${CGROUPS}/tinyctr/${name}/cgroup.procs`;
  const runs = (name) => name.startsWith('limit-') && existsSync(procs(name)) && line(procs(name)) !== '';
  await until('it runs', () => existsSync('/tmp/draw') && readdirSync('/tmp/draw').some(runs));
  const [name] = readdirSync('/tmp/draw');
  const { stdout } = await run(`${checkout}/bin/tinyctr`, ['--run-root', '/tmp/draw', 'cgroup', 'draw', name]);
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('exit', resolve));
  assert.match(stdout, /^ {2}memory\.max {10}64 MiB {14}above it the kernel kills$/m);
  assert.match(stdout, /^ {2}pids\.current {8}1 \[#? +\] +processes and threads now$/m);
  assert.match(stdout, /^ {2}cpu\.max {13}0\.5 CPUs/m);
  assert.doesNotMatch(stdout, /Not in this hierarchy/);
  for (const text of stdout.split('\n')) assert.ok(text.length <= 80, text);
});

describe('without root', () => {
  const asUser = (script) => run('setpriv', ['--reuid=1000', '--regid=1000', '--clear-groups', 'sh', '-c', script]);
  const command = `${checkout}/bin/tinyctr --run-root ${mkdtempSync('/tmp/user-')}/run limit`;

  test('a delegated sub-tree can be limited further', async () => {
    const own = `${CGROUPS}/delegated`;
    mkdirSync(`${own}/session`, { recursive: true });
    const files = ['', '/cgroup.procs', '/cgroup.subtree_control', '/session', '/session/cgroup.procs'];
    for (const file of files) chownSync(own + file, 1000, 1000);
    const folder = command.split(' ')[2].replace(/\/run$/, '');
    chownSync(folder, 1000, 1000);
    const script = `${command} --cgroup-parent /delegated/mine --memory 32m --memory-swap 32m -- ${HOG}`;
    const result = await run('sh', [
      '-c',
      `echo 0 > ${own}/session/cgroup.procs; exec setpriv --reuid=1000 --regid=1000 --clear-groups ${script}`,
    ]);
    assert.equal(result.code, 137, result.stderr);
    assert.match(result.stderr, /killed by the kernel: memory limit 32 MiB reached/);
    assert.deepEqual(
      readdirSync(`${own}/mine`, { withFileTypes: true }).filter((entry) => entry.isDirectory()),
      [],
    );
  });

  test('one that is not delegated is an error that says what to do', async () => {
    const { code, stderr } = await asUser(`${command} --memory 32m -- true`);
    assert.equal(code, 125);
    assert.match(stderr, /delegat/i);
  });
});
