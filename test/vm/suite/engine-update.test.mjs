// tinyctr update: limits of a container that runs, and of one that does not. Runs in the guest, for the controllers.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { tinyctr } from './support.mjs';

const MIB = 1024 * 1024;
const folder = mkdtempSync(`${tmpdir()}/tinyctr-update-`);
const call = (...words) => tinyctr('--root', `${folder}/root`, '--run-root', `${folder}/run`, ...words);
const must = async (...words) => {
  const { code, stdout, stderr } = await call(...words);
  assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
  return stdout.trim();
};
const inspect = async (name) => JSON.parse(await must('inspect', name))[0];
let id = '';
const files = (...names) =>
  names.map((name) => readFileSync(`/sys/fs/cgroup/tinyctr/${id}/${name}`, 'utf8').trim()).join(' | ');

describe('tinyctr update', () => {
  before(async () => {
    const hold = 'dd if=/dev/zero of=/dev/shm/held bs=1M count=30 2>/dev/null; echo held; exec sleep 1000';
    const limits = ['--memory', '100m', '--memory-swap', '150m', '--pids-limit', '50', '--shm-size', '64m'];
    id = await must('run', '-d', '--name', 'one', ...limits, 'busybox', 'sh', '-c', hold);
    for (const until = Date.now() + 60_000; !(await must('logs', 'one')).includes('held'); )
      assert.ok(Date.now() < until, 'it holds its memory');
  });
  after(async () => {
    await call('rm', '-f', 'one', 'two');
    rmSync(folder, { recursive: true, force: true });
  });

  test('a running container has them at once, and inspect tells', async () => {
    const cpu = ['--cpus', '0.5', '--cpu-shares', '512', '--cpuset-cpus', '0'];
    assert.equal(await must('update', '--memory', '80m', '--pids-limit', '20', ...cpu, 'one'), 'one');
    assert.equal(files('memory.max', 'memory.swap.max', 'pids.max'), `${80 * MIB} | ${70 * MIB} | 20`);
    assert.equal(files('cpu.max', 'cpu.weight', 'cpuset.cpus'), '50000 100000 | 59 | 0');
    const { HostConfig } = await inspect('one');
    assert.deepEqual(
      [HostConfig.Memory, HostConfig.MemorySwap, HostConfig.PidsLimit, HostConfig.CpuQuota, HostConfig.CpuShares],
      [80 * MIB, 150 * MIB, 20, 50_000, 512],
    );
    await must('update', '--pids-limit', '-1', '--memory-swap', '-1', 'one');
    assert.equal(files('memory.max', 'memory.swap.max', 'pids.max'), `${80 * MIB} | max | max`);
  });

  test('all or nothing: below what is in use, or contradictory', async () => {
    const now = files('memory.max', 'pids.max', 'cpu.max');
    const low = await call(
      'update',
      '--pids-limit',
      '7',
      '--cpus',
      '1',
      '--memory',
      '10m',
      '--memory-swap',
      '20m',
      'one',
    );
    assert.equal(low.code, 1);
    assert.match(low.stderr, /memory limit of 10485760 is not above the present use of \d+ bytes/);
    await must('update', '--memory-swap', '90m', 'one');
    const swap = await call('update', '--memory', '120m', '--pids-limit', '7', 'one');
    assert.equal(swap.code, 1);
    assert.match(swap.stderr, /above the present one of memory and swap together/);
    assert.equal(files('memory.max', 'pids.max', 'cpu.max'), now);
    assert.equal((await inspect('one')).HostConfig.PidsLimit, -1);
  });

  test('they are kept for the next start, also when nothing ran', async () => {
    await must('update', '--pids-limit', '33', 'one');
    await must('restart', '-t', '0', 'one');
    assert.equal(files('memory.max', 'pids.max', 'cpu.weight'), `${80 * MIB} | 33 | 59`);
    await must('stop', '-t', '0', 'one');
    await must('update', '--memory', '60m', '--restart', 'on-failure:2', 'one');
    await must('start', 'one');
    assert.equal(files('memory.max', 'memory.swap.max', 'pids.max'), `${60 * MIB} | ${30 * MIB} | 33`);
    assert.deepEqual((await inspect('one')).HostConfig.RestartPolicy, { Name: 'on-failure', MaximumRetryCount: 2 });
  });

  test('updated and started at the same time, it has them', async () => {
    for (let round = 0; round < 6; round++) {
      await must('stop', '-t', '0', 'one');
      await Promise.all([must('start', 'one'), must('update', '--pids-limit', `${40 + round}`, 'one')]);
      assert.equal(files('pids.max'), `${40 + round}`);
    }
  });

  test('one in the foreground too', async () => {
    id = '';
    const running = call('run', '--rm', '--name', 'two', 'busybox', 'sleep', '1000');
    for (
      const until = Date.now() + 60_000;
      id === '';
      id = await must('ps', '-q', '--no-trunc', '--filter', 'name=two')
    )
      assert.ok(Date.now() < until, 'it runs');
    await must('update', '--pids-limit', '9', 'two');
    assert.equal(files('pids.max'), '9');
    assert.equal((await call('update', '--restart', 'always', 'two')).code, 1);
    await must('kill', 'two');
    await running;
  });
});
