// The freezer under load, and when it can't freeze. Runs in the guest.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Container, sleep, until } from './oci.mjs';
import { checkout, run } from './support.mjs';

const used = (container) => container.count('cpu.stat', 'usage_usec');
const status = async (container) => JSON.parse((await container.call('state', container.id)).stdout).status;

test('many busy processes stand still while it is paused, and go on', async () => {
  const forks = 'while :; do (:); done & while :; do (:); done & while :; do cat /proc/self/stat >/dev/null; done &';
  const container = await new Container().start({ pids: { limit: 100 } }, `${forks} echo ready; wait`);
  try {
    await until('the load', () => container.output().includes('ready'));
    for (let round = 0; round < 3; round++) {
      const { code, stderr } = await container.call('pause', container.id);
      assert.equal(code, 0, stderr);
      assert.equal(container.count('cgroup.events', 'frozen'), 1);
      assert.equal(await status(container), 'paused');
      const before = used(container);
      await sleep(500);
      assert.equal(used(container), before);
      assert.equal((await container.call('update', '--pids-limit', `${90 + round}`, container.id)).code, 0);
      assert.equal((await container.call('resume', container.id)).code, 0);
      await until('more work', () => used(container) > before);
    }
    await container.call('pause', container.id);
  } finally {
    assert.equal((await container.remove()).code, 0); // also from the freezer
  }
});

describe('a process that waits in the kernel', () => {
  const folder = mkdtempSync('/tmp/freeze-');
  let container;
  let writer;

  before(async () => {
    await run('sh', ['-c', `truncate -s 32M ${folder}/disk && mkfs.ext4 -q ${folder}/disk`]);
    mkdirSync(`${folder}/mnt`);
    assert.equal((await run('mount', ['-o', 'loop', `${folder}/disk`, `${folder}/mnt`])).code, 0);
    assert.equal((await run('fsfreeze', ['-f', `${folder}/mnt`])).code, 0);
    container = await new Container().start({}, 'while :; do read -t 1 x </dev/zero; done');
    writer = spawn('sh', ['-c', `echo $$ > ${container.cgroup}/cgroup.procs; echo x > ${folder}/mnt/file`]);
    await until('the writer', async () => / D /.test((await run('cat', [`/proc/${writer.pid}/stat`])).stdout));
  });

  after(async () => {
    await run('fsfreeze', ['-u', `${folder}/mnt`]);
    await container.remove();
    await run('umount', [`${folder}/mnt`]);
  });

  test('pause says so, and leaves nothing frozen', async () => {
    const { code, stderr } = await container.call('pause', container.id);
    assert.equal(code, 1);
    assert.match(stderr, /could be frozen in time/);
    assert.equal(container.read('cgroup.freeze'), '0');
    assert.equal(await status(container), 'running');
    const before = used(container);
    await until('more work', () => used(container) > before);
  });

  test('a pause that was killed half way is taken back by resume', async () => {
    const words = ['--root', `${container.folder}/root`, 'pause', container.id];
    const child = spawn(`${checkout}/bin/tinyctr-oci`, words, { stdio: 'ignore' });
    await until('the request', () => container.read('cgroup.freeze') === '1');
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    assert.equal((await container.call('resume', container.id)).code, 0);
    assert.equal(container.read('cgroup.freeze'), '0');
    assert.equal((await container.call('resume', container.id)).code, 1);
  });
});

test('what the container has frozen itself stays frozen when it is resumed', async () => {
  const container = await new Container().start({}, 'while :; do read -t 1 x </dev/zero; done');
  mkdirSync(`${container.cgroup}/own`);
  writeFileSync(`${container.cgroup}/own/cgroup.freeze`, '1');
  try {
    assert.equal((await container.call('pause', container.id)).code, 0);
    assert.equal((await container.call('resume', container.id)).code, 0);
    assert.equal(container.read('own/cgroup.freeze'), '1');
    assert.equal(await status(container), 'running');
  } finally {
    assert.equal((await container.remove()).code, 0);
  }
});
