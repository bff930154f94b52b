// Limits of a container that lives, with every controller. Runs in the guest.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Container, until } from './oci.mjs';
import { run } from './support.mjs';

const MIB = 1024 * 1024;

describe('tinyctr-oci update', () => {
  const container = new Container();
  const state = () => ({
    memory: container.read('memory.max'),
    swap: container.read('memory.swap.max'),
    low: container.read('memory.low'),
    cpu: container.read('cpu.max'),
    burst: container.read('cpu.max.burst'),
    pids: container.read('pids.max'),
    io: container.read('io.max'),
  });
  const update = async (...words) => {
    const { code, stderr } = await container.call('update', ...words, container.id);
    assert.equal(code, 0, stderr);
  };
  const refused = async (...words) => {
    const earlier = state();
    const { code, stderr } = await container.call('update', ...words, container.id);
    assert.equal(code, 1);
    assert.deepEqual(state(), earlier);
    return stderr;
  };
  const resources = (value) => {
    writeFileSync(`${container.folder}/resources.json`, JSON.stringify(value));
    return ['--resources', `${container.folder}/resources.json`];
  };

  before(async () => {
    const memory = { limit: 64 * MIB, swap: 96 * MIB };
    await container.start(
      { memory, blockIO: { throttleReadBpsDevice: [{ major: 7, minor: 1, rate: 5000 }] } },
      'dd if=/dev/zero of=/tmp/held bs=1M count=20 2>/dev/null; echo held; while :; do read -t 1 x </dev/zero; done',
    );
    await until('the memory in use', () => container.output().includes('held'));
  });
  after(() => container.remove());

  test('what it was created with stands in the files', () => {
    assert.equal(container.read('memory.max'), String(64 * MIB));
    assert.equal(container.read('memory.swap.max'), String(32 * MIB));
    assert.equal(container.read('io.max'), '7:1 rbps=5000 wbps=max riops=max wiops=max');
  });

  test('memory keeps its sum with swap, and is refused above it', async () => {
    await update('--memory', '80m');
    assert.deepEqual([container.read('memory.max'), container.read('memory.swap.max')], [`${80 * MIB}`, `${16 * MIB}`]);
    assert.match(await refused('--memory', '128m'), /above the present limit of memory and swap together, 100663296/);
    await update('--memory', '128m', '--memory-swap', '128m', '--memory-reservation', '10m');
    assert.deepEqual(
      [container.read('memory.max'), container.read('memory.swap.max'), container.read('memory.low')],
      [`${128 * MIB}`, '0', `${10 * MIB}`],
    );
    await update('--memory-swap', '129m');
    assert.equal(container.read('memory.swap.max'), String(MIB));
  });

  test('checkBeforeUpdate refuses a limit below the use, and nobody is killed', async () => {
    const stderr = await refused(...resources({ memory: { limit: MIB, swap: MIB, checkBeforeUpdate: true } }));
    assert.match(stderr, /the memory limit of 1048576 is not above the present use of \d+ bytes/);
    assert.equal(container.count('memory.events', 'oom_kill'), 0);
  });

  test('quota and period keep each other; burst may go up and down with the quota', async () => {
    await update('--cpu-quota', '20000');
    assert.equal(container.read('cpu.max'), '20000 100000');
    await update('--cpu-period', '50000');
    assert.equal(container.read('cpu.max'), '20000 50000');
    await update('--cpu-quota', '40000', '--cpu-burst', '40000');
    await update('--cpu-quota', '5000', '--cpu-burst', '2000');
    assert.deepEqual([container.read('cpu.max'), container.read('cpu.max.burst')], ['5000 50000', '2000']);
    assert.match(await refused('--cpu-quota', '1000'), /the CPU limit can't be set: cpu\.max refuses 1000 50000/);
    await update('--cpu-burst', '0', '--cpu-quota', '-1');
    assert.deepEqual([container.read('cpu.max'), container.read('cpu.max.burst')], ['max 50000', '0']);
  });

  test('shares and idle, in both directions', async () => {
    await update('--cpu-share', '512');
    assert.equal(container.read('cpu.weight'), '59');
    await update('--cpu-idle', '1');
    assert.equal(container.read('cpu.idle'), '1');
    await update('--cpu-idle', '0', '--cpu-share', '1024');
    assert.deepEqual([container.read('cpu.idle'), container.read('cpu.weight')], ['0', '100']);
  });

  test('processors and memory nodes; one that is not there is refused', async () => {
    await update('--cpuset-cpus', '0', '--cpuset-mems', '0');
    assert.deepEqual([container.read('cpuset.cpus.effective'), container.read('cpuset.mems.effective')], ['0', '0']);
    assert.match(await refused('--cpuset-cpus', '4095'), /the list of CPUs can't be set: cpuset\.cpus refuses 4095/);
    assert.equal(container.read('cpuset.cpus'), '0');
  });

  test('processes', async () => {
    await update('--pids-limit', '7');
    assert.equal(container.read('pids.max'), '7');
    await update('--pids-limit', '0');
    assert.equal(container.read('pids.max'), '1');
    await update('--pids-limit', '-1');
    assert.equal(container.read('pids.max'), 'max');
  });

  test('block devices: weight in the file that the kernel has, limits by device', async () => {
    const bfq = existsSync(`${container.cgroup}/io.bfq.weight`);
    if (bfq || existsSync(`${container.cgroup}/io.weight`)) {
      await update('--blkio-weight', '500');
      assert.match(container.read(bfq ? 'io.bfq.weight' : 'io.weight'), bfq ? /^default 500$/m : /^default 4950$/m);
    } else assert.match(await refused('--blkio-weight', '500'), /this kernel has no io\.weight/);
    const device = { major: 7, minor: 0 };
    await update(...resources({ blockIO: { throttleWriteBpsDevice: [{ ...device, rate: MIB }] } }));
    assert.match(container.read('io.max'), /^7:0 rbps=max wbps=1048576 riops=max wiops=max$/m);
    await update(...resources({ blockIO: { throttleWriteBpsDevice: [{ ...device, rate: 0 }] } }));
    assert.equal(container.read('io.max'), '7:1 rbps=5000 wbps=max riops=max wiops=max');
  });

  test('if the last of many is refused, all get back what they had', async () => {
    const stderr = await refused(
      ...resources({
        cpu: { quota: 30000, burst: 1000, shares: 2 },
        pids: { limit: 3 },
        blockIO: {
          throttleReadBpsDevice: [
            { major: 7, minor: 0, rate: 1000 },
            { major: 7, minor: 1, rate: 1000 },
          ],
        },
        memory: { limit: 100 * MIB, swap: 200 * MIB, reservation: MIB },
        unified: { 'memory.high': 'much' },
      }),
    );
    assert.match(stderr, /the value of memory\.high can't be set: memory\.high refuses much \(EINVAL\)/);
    assert.equal(container.read('cpu.weight'), '100');
    assert.equal(container.read('memory.high'), 'max');
  });

  test('huge pages, and their reservations', async () => {
    await update(...resources({ hugepageLimits: [{ pageSize: '2MB', limit: 4 * MIB }] }));
    assert.deepEqual(
      [container.read('hugetlb.2MB.max'), container.read('hugetlb.2MB.rsvd.max')],
      [`${4 * MIB}`, `${4 * MIB}`],
    );
  });

  test('a file by name', async () => {
    await update(...resources({ unified: { 'memory.high': '90M', 'io.max': '7:0 riops=5\n7:1 rbps=max' } }));
    assert.equal(container.read('memory.high'), String(90 * MIB));
    assert.equal(container.read('io.max'), '7:0 rbps=max wbps=max riops=5 wiops=max');
  });

  test('the container has noticed nothing of all this', async () => {
    assert.match((await container.call('state', container.id)).stdout, /"status":\s*"running"/);
  });
});

test('a limit that was not there at the beginning can be set while the container lives, and holds', async () => {
  const container = new Container();
  await container.start({}, 'echo ready; while :; do dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; done');
  try {
    await until('the container', () => container.output().includes('ready'));
    const { code, stderr } = await container.call('update', '--memory', '32m', '--memory-swap', '32m', container.id);
    assert.equal(code, 0, stderr);
    await until('a kill', () => container.count('memory.events', 'oom_kill') > 0);
  } finally {
    await container.remove();
  }
});

test('a limit whose controller can’t be enabled names the processes in the way', async () => {
  const top = '/sys/fs/cgroup/vm-oci-busy';
  await run('mkdir', [top]);
  const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
  writeFileSync(`${top}/cgroup.procs`, String(sleeper.pid));
  const container = new Container();
  container.cgroup = `${top}/one`;
  // pids is a threaded controller: the kernel would let it through, and then no process into the child.
  for (const limits of [{ pids: { limit: 5 } }, { memory: { limit: 2 ** 30 } }]) {
    const error = await container.start(limits, 'true').catch(({ message }) => message);
    assert.match(String(error), /can't hand \w+ to the children of \S+vm-oci-busy: processes sit in it \(\d+ sleep\)/);
  }
  // Without a limit it runs there, only not measured.
  await container.start({}, 'true');
  await container.remove();
  sleeper.kill('SIGKILL');
  await until('the end', () => run('rmdir', [top]).then(({ code }) => code === 0));
});
