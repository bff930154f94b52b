// process.selinuxLabel and linux.mountLabel, enforced by a kernel that was booted with SELinux and a policy of a few lines.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { checkout, run } from '../suite/support.mjs';
import { bundle, oci, runScript, start, tool } from './support.mjs';

const secret = 'u:object_r:secret_t';
const confined = (spec) => {
  spec.process.selinuxLabel = 'u:r:box_t';
};
/** A tmpfs whose files get the mount label. */
const labelled = (spec) => {
  confined(spec);
  spec.linux.mountLabel = secret;
  spec.mounts.push({ destination: '/secrets', type: 'tmpfs', source: 'tmpfs', options: ['mode=755'] });
};

before(async () => {
  const mounted = await run('mount', ['-t', 'selinuxfs', 'none', '/sys/fs/selinux']);
  assert.ok([0, 32].includes(mounted.code), mounted.stderr);
  const compiled = await run(tool('secilc'), [
    '-o',
    '/tmp/policy',
    '-f',
    '/dev/null',
    `${checkout}/test/vm/lsm/policy.cil`,
  ]);
  assert.equal(compiled.code, 0, compiled.stderr);
  writeFileSync('/sys/fs/selinux/load', readFileSync('/tmp/policy'));
  writeFileSync('/sys/fs/selinux/enforce', '1');
});

test('the label is the program’s', async () => {
  const { stdout, stderr } = await runScript('cat /proc/self/attr/current', confined);
  assert.equal(stdout.replaceAll('\0', '').trim(), 'u:r:box_t', stderr);
});

test('files of a new filesystem have the mount label, and the policy holds for the program', async () => {
  const hook = {
    path: '/bin/sh',
    args: ['sh', '-c', 'read a < /proc/self/attr/current; echo $a > /hooked; echo x > /secrets/x'],
  };
  const folder = await bundle('sleep 1000', (spec) => {
    labelled(spec);
    spec.hooks = { startContainer: [hook] };
  });
  const failed = await start(folder, 'hooked');
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /startContainer hook #0/); // box_t may not write to secret_t: the hook has the label, too
});

test('exec has the container’s label, and --process-label another', async () => {
  const folder = await bundle('sleep 1000', labelled);
  const { code, stderr } = await start(folder, 'box');
  assert.equal(code, 0, stderr);
  const script = 'echo text > /secrets/in; cat /secrets/in';
  const own = await oci('exec', 'box', 'sh', '-c', script);
  assert.match(own.stderr, /Permission denied/);
  const other = await oci('exec', '--process-label', 'u:r:other_t', 'box', 'sh', '-c', script);
  assert.equal(other.stdout, 'text\n', other.stderr);
  await oci('delete', '--force', 'box');
});

test('a label that the policy does not know is an error of create, with its pointer', async () => {
  const { code, stdout, stderr } = await runScript('echo ran', (spec) => {
    spec.process.selinuxLabel = 'u:r:nobody_t';
  });
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  assert.match(stderr, /\/process\/selinuxLabel/);
});
