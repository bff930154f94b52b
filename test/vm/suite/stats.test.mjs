// What a container uses, and what its limits did, as tinyctr-oci and runc tell it. Runs in the guest.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';
import { Container, until } from './oci.mjs';
import { runcMissing } from './support.mjs';

const MIB = 1024 * 1024;
const resources = {
  memory: { limit: 48 * MIB, swap: 64 * MIB },
  cpu: { quota: 20_000, period: 100_000 },
  pids: { limit: 30 },
};
const busy = 'dd if=/dev/zero of=/tmp/held bs=1M count=10 2>/dev/null; echo held; while :; do :; done';

for (const runtime of ['runc', 'tinyctr-oci'])
  describe(`${runtime} events`, { skip: runtime === 'runc' && runcMissing() }, () => {
    test('--stats tells limits, use and throttling', async () => {
      const container = await new Container(runtime).start(resources, busy);
      try {
        await until('the throttling', () => container.count('cpu.stat', 'nr_throttled') > 0);
        await until('the memory in use', () => container.output().includes('held'));
        const { stdout, stderr } = await container.call('events', '--stats', container.id);
        const { type, id, data } = JSON.parse(stdout);
        assert.deepEqual({ type, id }, { type: 'stats', id: container.id }, stderr);
        assert.equal(data.memory.usage.limit, 48 * MIB);
        assert.ok(data.memory.usage.usage > 10 * MIB && data.memory.usage.usage <= 48 * MIB);
        assert.equal(data.memory.swap.limit, 64 * MIB);
        assert.ok(data.memory.raw.shmem >= 10 * MIB);
        assert.equal(data.pids.limit, 30);
        assert.ok(data.pids.current >= 1);
        assert.ok(data.cpu.throttling.throttledPeriods > 0);
        assert.ok(data.cpu.throttling.throttledTime > 1000);
        assert.ok(data.cpu.usage.total > 1_000_000 && data.cpu.usage.user > 0);
        if (runtime === 'tinyctr-oci') {
          assert.ok(data.memory.psi.some.total >= 0);
          assert.ok(data.cpu.psi.some.total > 0);
        }
      } finally {
        await container.remove();
      }
    });

    test('a kill for memory is told at once, and the end of the container ends it', async () => {
      const script = 'read x < /tmp/go; dd if=/dev/zero of=/dev/null bs=128M count=1; exec true';
      const container = await new Container(runtime).start(resources, `mknod /tmp/go p; echo ready; ${script}`);
      try {
        await until('the container', () => container.output().includes('ready'));
        const words = ['--root', `${container.folder}/root`, 'events', '--interval', '1h', container.id];
        const child = spawn(container.program, words, { stdio: ['ignore', 'pipe', 'inherit'] });
        let output = '';
        child.stdout.on('data', (text) => {
          output += text;
        });
        const ended = new Promise((resolve) => child.once('exit', resolve));
        await until('the watch', async () => (await watches(child.pid)) > 0);
        const { pid } = JSON.parse((await container.call('state', container.id)).stdout);
        spawn('sh', ['-c', `echo > /proc/${pid}/root/tmp/go`], { stdio: 'inherit' });
        assert.equal(await ended, 0);
        // How often the kernel kills in one go is its affair: dd may be tried, and then the shell.
        const line = `{"type":"oom","id":"${container.id}"}\n`;
        assert.ok(output.length > 0);
        assert.equal(output, line.repeat(output.length / line.length));
      } finally {
        await container.remove();
      }
    });
  });

test('tinyctr-oci: state and events have each limit that was hit, also once the container has stopped', async () => {
  const bomb = '(i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i + 1)); done)';
  const script = `dd if=/dev/zero of=/dev/null bs=128M count=1; ${bomb}; while :; do read -t 1 x </dev/zero; done`;
  const container = await new Container().start({ ...resources, memory: { limit: 48 * MIB, swap: 48 * MIB } }, script);
  const hit = async () => JSON.parse((await container.call('state', container.id)).stdout).limitsHit;
  try {
    await until('the hits', async () => (await hit())?.refusedProcesses > 0);
    const { oomKills, refusedProcesses, throttledPeriods, throttledTime } = await hit();
    assert.ok(oomKills > 0 && refusedProcesses > 0 && throttledPeriods > 0 && throttledTime > 1000);
    const { data } = JSON.parse((await container.call('events', '--stats', container.id)).stdout);
    assert.ok(data.pids.refused >= refusedProcesses && data.cpu.throttling.throttledPeriods >= throttledPeriods);
    await container.call('kill', container.id, 'KILL');
    await until('the end', async () => JSON.parse((await container.call('state', container.id)).stdout).pid === 0);
    assert.ok((await hit()).oomKills > 0);
  } finally {
    await container.remove();
  }
});

test('tinyctr-oci: where no limit was hit, state says nothing of limits', async () => {
  const container = await new Container().start({ memory: { limit: 48 * MIB } }, 'while :; do sleep 1; done');
  try {
    assert.equal('limitsHit' in JSON.parse((await container.call('state', container.id)).stdout), false);
  } finally {
    await container.remove();
  }
});

/** How many files a process watches with inotify. */
async function watches(pid) {
  const { readdirSync, readFileSync } = await import('node:fs');
  return readdirSync(`/proc/${pid}/fdinfo`)
    .map((fd) => {
      try {
        return readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
      } catch (error) {
        if (error.code !== 'ENOENT') throw error; // closed meanwhile
        return '';
      }
    })
    .filter((text) => /^inotify wd/m.test(text)).length;
}
