// Limits as the kernel keeps them: the same cases against runc and tinyctr, so that a test which is wrong about the
// world is found. Runs in the guest, where every cgroup v2 controller can be used.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { run, runc, runcMissing, tinyctr } from './support.mjs';

const MIB = 1024 * 1024;
const runtimes = [
  {
    name: 'runc',
    skip: runcMissing(),
    memory: (script) => runc({ memory: { limit: 32 * MIB } }, script),
    cpus: (script) => runc({ cpu: { quota: 50_000, period: 100_000 } }, script),
    pids: (script) => runc({ pids: { limit: 20 } }, script),
  },
  {
    name: 'tinyctr',
    skip: false,
    memory: (script) => tinyctr('run', '--rm', '--memory', '32m', 'busybox', 'sh', '-c', script),
    cpus: (script) => tinyctr('run', '--rm', '--cpus', '0.5', 'busybox', 'sh', '-c', script),
    pids: (script) => tinyctr('run', '--rm', '--pids-limit', '20', 'busybox', 'sh', '-c', script),
  },
];

// Starts processes without end, and watches with the shell's own means only (its own forks would fail): waits until the
// kernel has refused one, then goes on counting for a while.
const FORK_BOMB = `
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

for (const { name, skip, memory, cpus, pids } of runtimes) {
  describe(name, { skip }, () => {
    test('memory.max has the limit', async () => {
      const { stdout, stderr, code } = await memory('cat /sys/fs/cgroup/memory.max');
      assert.deepEqual({ stdout, code }, { stdout: `${32 * MIB}\n`, code: 0 }, stderr);
    });

    test('a process that takes more memory is killed by the kernel', async () => {
      const hog = 'dd if=/dev/zero of=/dev/null bs=64M count=1';
      const result = await memory(`${hog}; echo "hog $?"; cat /sys/fs/cgroup/memory.events`);
      assert.match(result.stdout, /^hog 137$/m, result.stderr);
      assert.match(result.stdout, /^oom_kill 1$/m);
    });

    test('a container whose init is killed for its memory ends with 137', async () => {
      const { code, stderr } = await memory('exec dd if=/dev/zero of=/dev/null bs=64M count=1');
      assert.equal(code, 137, stderr);
    });

    test('cpu.max has the limit, and a busy loop is throttled', async () => {
      const loop = 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done';
      const { stdout, stderr } = await cpus(`cat /sys/fs/cgroup/cpu.max; ${loop}; cat /sys/fs/cgroup/cpu.stat`);
      assert.match(stdout, /^50000 100000$/m, stderr);
      assert.match(stdout, /^nr_throttled [1-9]/m);
    });

    test('pids.max has the limit', async () => {
      const { stdout, stderr, code } = await pids('cat /sys/fs/cgroup/pids.max');
      assert.deepEqual({ stdout, code }, { stdout: '20\n', code: 0 }, stderr);
    });

    test('a fork bomb stays within pids.max, and the machine stays usable', async () => {
      let running = true;
      const container = pids(FORK_BOMB).finally(() => {
        running = false;
      });
      while (running) assert.equal((await run('true', [])).code, 0);
      const { stdout, stderr } = await container;
      const most = Number(/^most (\d+)$/m.exec(stdout)?.[1]);
      assert.ok(most > 1 && most <= 20, `at most ${most} processes; ${stderr}`);
    });
  });
}

// Not against runc: its releases before 1.3.2 convert shares with the older, linear formula.
test('tinyctr: --cpu-shares 512 is cpu.weight 59', async () => {
  const { stdout, stderr } = await tinyctr(
    'run',
    '--rm',
    '--cpu-shares',
    '512',
    'busybox',
    'cat',
    '/sys/fs/cgroup/cpu.weight',
  );
  assert.equal(stdout, '59\n', stderr);
});

test('tinyctr: --cpu-shares 1024, the default, is cpu.weight 100', async () => {
  const { stdout, stderr } = await tinyctr(
    'run',
    '--rm',
    '--cpu-shares',
    '1024',
    'busybox',
    'cat',
    '/sys/fs/cgroup/cpu.weight',
  );
  assert.equal(stdout, '100\n', stderr);
});

test('tinyctr: no container leaves a cgroup behind', async () => {
  const cgroups = () =>
    readdirSync('/sys/fs/cgroup', { recursive: true, withFileTypes: true }).filter((e) => e.isDirectory());
  const limited = () => tinyctr('run', '--rm', '--memory', '32m', 'busybox', 'true');
  assert.equal((await limited()).code, 0);
  const before = cgroups().map((e) => e.name);
  assert.equal((await limited()).code, 0);
  assert.deepEqual(
    cgroups().map((e) => e.name),
    before,
  );
});
