// tinyctr-oci exec where cgroup v2 has its controllers: limits hold for whoever enters, and a container that has made
// cgroups of its own, as systemd in it would, is entered where its first process is.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { until } from './oci.mjs';
import { busyboxRootfs, checkout, line, run } from './support.mjs';

const root = mkdtempSync('/tmp/oci-');
const oci = (...words) => run(`${checkout}/bin/tinyctr-oci`, ['--root', root, ...words]);
const shell = (id, script) => oci('exec', id, '/bin/sh', '-c', script);
const cgroup = (id) => `/sys/fs/cgroup/tinyctr-oci/${id}`;

async function start(id, resources = {}) {
  const bundle = mkdtempSync('/tmp/bundle-');
  await oci('spec', '--bundle', bundle);
  const spec = JSON.parse(readFileSync(`${bundle}/config.json`, 'utf8'));
  spec.root = { path: busyboxRootfs() };
  spec.process = { ...spec.process, terminal: false, args: ['/bin/busybox', 'sleep', '100000'] };
  spec.linux.resources = { ...spec.linux.resources, ...resources };
  writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
  for (const words of [
    ['create', '--bundle', bundle, id],
    ['start', id],
  ]) {
    // Not by a pipe: the container keeps it open.
    const { code } = await run('sh', [
      '-c',
      '"$@" > /tmp/said 2>&1',
      'sh',
      `${checkout}/bin/tinyctr-oci`,
      '--root',
      root,
      ...words,
    ]);
    assert.equal(code, 0, readFileSync('/tmp/said', 'utf8'));
  }
  return JSON.parse((await oci('state', id)).stdout).pid;
}

describe('a limit', () => {
  before(() => start('limited', { pids: { limit: 8 } }));
  after(() => oci('delete', '--force', 'limited'));

  test('holds for whoever enters', async () => {
    const { stderr } = await shell('limited', 'for i in 1 2 3 4 5 6 7 8 9; do /bin/busybox sleep 5 & done; wait');
    assert.match(stderr, /can't fork/);
    assert.match(line(`${cgroup('limited')}/pids.events`), /max [1-9]/);
  });

  test('is an error of exec when it leaves no room for one more, and nothing is left', async () => {
    writeFileSync(`${cgroup('limited')}/pids.max`, '1');
    const { code, stdout, stderr } = await oci('exec', 'limited', '/bin/sh', '-c', 'echo ran');
    assert.deepEqual({ code, stdout }, { code: 255, stdout: '' }, stderr);
    assert.match(stderr, /exec failed: unable to start container process: .*clone3/s);
    // The sleeps of the test before may still be there.
    await until('one process is left', () => line(`${cgroup('limited')}/cgroup.procs`).split('\n').length === 1);
  });
});

test('where the container has handed controllers on, exec enters the cgroup of its first process', async () => {
  const pid = await start('nested');
  const below = `${cgroup('nested')}/init.scope`;
  mkdirSync(below);
  writeFileSync(`${below}/cgroup.procs`, String(pid));
  for (const controller of ['cpu', 'memory', 'pids'])
    for (const folder of ['/sys/fs/cgroup', '/sys/fs/cgroup/tinyctr-oci', cgroup('nested')])
      writeFileSync(`${folder}/cgroup.subtree_control`, `+${controller}`);
  const { code, stdout, stderr } = await shell('nested', 'cat /proc/self/cgroup');
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '0::/init.scope\n');
  assert.equal((await oci('delete', '--force', 'nested')).code, 0);
});
