// process.apparmorProfile, enforced by a kernel that was booted with AppArmor.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { checkout, run } from '../suite/support.mjs';
import { bundle, oci, runScript, start, tool } from './support.mjs';

const profile = `
profile no-secret flags=(attach_disconnected) {
  file,
  signal,
  deny /etc/secret r,
}
profile other flags=(attach_disconnected) {
  file,
  signal,
}
`;
const confined = (spec) => {
  spec.process.apparmorProfile = 'no-secret';
};

before(async () => {
  const { code } = await run('mount', ['-t', 'securityfs', 'none', '/sys/kernel/security']);
  assert.ok(code === 0 || code === 32);
  writeFileSync('/tmp/profile', profile);
  const loaded = await run(tool('apparmor_parser'), ['--skip-cache', '-r', '/tmp/profile']);
  assert.equal(loaded.code, 0, loaded.stderr);
});

test('without a profile the program is unconfined and reads the file', async () => {
  const { stdout, stderr } = await runScript('cat /proc/self/attr/current /etc/secret', () => {});
  assert.equal(stdout, 'unconfined\nsecret\n', stderr);
});

for (const noNewPrivileges of [true, false])
  test(`the profile is the program's, and enforced; noNewPrivileges ${noNewPrivileges}`, async () => {
    const change = (spec) => {
      confined(spec);
      spec.process.noNewPrivileges = noNewPrivileges;
      spec.process.user = { uid: 1000, gid: 1000 };
    };
    const { stdout, stderr } = await runScript('cat /proc/self/attr/current; cat /etc/secret 2>&1', change);
    assert.match(stdout, /^no-secret \(enforce\)\n.*Permission denied\n$/, stderr);
  });

test('a profile that is not loaded is an error of create, with its pointer', async () => {
  const { code, stdout, stderr } = await runScript('echo ran', (spec) => {
    spec.process.apparmorProfile = 'not-there';
  });
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  assert.match(stderr, /not-there/);
  assert.match(stderr, /\/process\/apparmorProfile/);
  assert.match(stderr, /apparmor_parser/);
});

test('exec takes the profile of config.json, and --apparmor another; hooks in the container have it', async () => {
  const hook = { path: '/bin/sh', args: ['sh', '-c', 'cat /proc/self/attr/current > /etc/hooked'] };
  const folder = await bundle('sleep 1000', (spec) => {
    confined(spec);
    spec.hooks = { startContainer: [hook] };
  });
  const { code, stderr } = await start(folder, 'box');
  assert.equal(code, 0, stderr);
  const own = await oci('exec', 'box', 'sh', '-c', 'cat /proc/self/attr/current /etc/hooked; cat /etc/secret 2>&1');
  assert.match(own.stdout, /^no-secret \(enforce\)\nno-secret \(enforce\)\n.*Permission denied\n$/, own.stderr);
  const other = await oci('exec', '--apparmor', 'other', 'box', 'cat', '/proc/self/attr/current', '/etc/secret');
  assert.equal(other.stdout, 'other (enforce)\nsecret\n', other.stderr);
  await oci('delete', '--force', 'box');
});

test('doctor tells that AppArmor is active', async () => {
  const { stdout } = await run(`${checkout}/bin/tinyctr`, ['--root', '/tmp/doctor', 'doctor']);
  assert.match(stdout, /\n {2}security modules +.*apparmor/);
});
