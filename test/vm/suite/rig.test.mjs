// The VM itself: is it what the other files rely on? Runs in the guest.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { line, run } from './support.mjs';

test('cgroup v2 is the only hierarchy, and every controller is handed on', () => {
  assert.match(line('/proc/self/cgroup'), /^0::\/init\.scope$/);
  const controllers = line('/sys/fs/cgroup/cgroup.subtree_control').split(' ');
  for (const name of ['cpu', 'cpuset', 'io', 'memory', 'pids'])
    assert.ok(controllers.includes(name), `${name} in ${controllers}`);
});

test('the host’s files cannot be written, even through a remounted share', async () => {
  await run('mount', ['-o', 'remount,rw', '/lower']);
  assert.match(readFileSync('/proc/mounts', 'utf8'), /^root \/lower virtiofs rw/m);
  assert.throws(() => writeFileSync('/lower/tmp/from-the-guest', ''), { code: 'EROFS' });
});

test('the loop module is loaded', () => {
  assert.match(readFileSync('/proc/modules', 'utf8'), /^loop /m);
});
