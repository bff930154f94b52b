// tinyctr compare with runc and crun, which both run here, and tinyctr doctor on a host with cgroup v2 alone.
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { test } from 'node:test';
import { checkout, run, runcMissing, tinyctr } from './support.mjs';

const rootfs = mkdtempSync('/tmp/compare-');

async function compared(...words) {
  const { code, stdout, stderr } = await tinyctr('compare', '--format', 'json', ...words);
  assert.notEqual(stdout, '', stderr);
  return { code, ...JSON.parse(stdout) };
}

for (const runtime of ['runc', 'crun'])
  test(`busybox under ${runtime}: no difference that docs/differences.md does not explain`, {
    skip: runcMissing(),
  }, async () => {
    const { code, differences, notes, equal } = await compared('--with', runtime, 'busybox');
    assert.deepEqual(
      differences.filter(({ explained }) => explained === null),
      [],
    );
    assert.equal(code, 0);
    assert.ok(equal.cgroup > 20, 'limits of every controller are compared');
    assert.ok(!notes.some((note) => note.includes('hybrid')), String(notes));
  });

test('the default bundle with crun, given the version that it knows', { skip: runcMissing() }, async () => {
  const { status } = await bundle();
  assert.equal(status, 0);
  const { differences, notes } = await compared('--with', 'crun', '--bundle', rootfs);
  assert.deepEqual(
    differences.filter(({ explained }) => explained === null),
    [],
  );
  assert.ok(notes.includes('crun refuses ociVersion 1.3.0: it was given the same as 1.0.2'), String(notes));
});

async function bundle() {
  const { code } = await run('sh', [
    '-c',
    `mkdir ${rootfs}/rootfs && ${checkout}/bin/tinyctr-oci spec --bundle ${rootfs}`,
  ]);
  return { status: code };
}

test('doctor: cgroup v2 alone with its controllers, and all that containers need', async () => {
  const { code, stdout } = await tinyctr('doctor');
  assert.equal(code, 0, stdout);
  assert.match(stdout, /\n {2}cgroup layout +cgroup v2 alone, at \/sys\/fs\/cgroup\n/);
  assert.match(stdout, /\n {2}cgroup controllers +cpuset cpu io memory .*pids/);
  assert.doesNotMatch(stdout, /cgroup controller memory/);
  assert.match(stdout, /\n {2}run folder +\/.*: tmpfs\n/);
  assert.match(stdout, /\nContainers can be made here/);
});

test('doctor: a store on an overlay can’t be the upper one of another', async () => {
  const { code, stdout } = await run(`${checkout}/bin/tinyctr`, ['--root', '/var/lib/tinyctr', 'doctor']);
  assert.equal(code, 1, stdout);
  assert.match(stdout, /^Needed, and not there:\n {2}overlay +tried: EINVAL\n/);
  assert.match(stdout, /fix: \/var\/lib\/tinyctr must be on a file system that overlay takes/);
});

test('doctor: a limit of namespaces that is 0 is named with the command', async () => {
  const set = (value) => run('sh', ['-c', `echo ${value} > /proc/sys/user/max_user_namespaces`]);
  await set(0);
  const { code, stdout } = await tinyctr('doctor');
  await set(15000);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /\n {2}user namespaces +tried: ENOSPC\n/);
  assert.match(stdout, /fix: sysctl -w user\.max_user_namespaces=15000;/);
});
