// Containers in containers: tinyctr in a privileged container of tinyctr's, with a limit inside of the limit. Runs in the guest.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { CGROUPS } from './runtimes.mjs';
import { checkout, tinyctr } from './support.mjs';

/** What the inner tinyctr needs of the guest: itself, Node and its libraries. */
const shared = [checkout, '/usr', '/lib', '/lib64', process.execPath];
const volumes = shared.flatMap((path) => ['--volume', `${path}:${path}:ro`]);
const INNER = `${checkout}/bin/tinyctr --root /tmp/inner/root --run-root /tmp/inner/run`;
const hog = (mib) => `dd if=/dev/zero of=/dev/null bs=${mib}M count=1`;
/** cgroup v2 wants processes in the leaves only: what the error of the first case says. */
const LEAF =
  'cd /sys/fs/cgroup; mkdir leaf; for pid in $(cat cgroup.procs); do echo $pid > leaf/cgroup.procs; done 2>/dev/null; cd /;';

const outer = (script, ...options) =>
  tinyctr('run', '--rm', '--privileged', '--tmpfs', '/tmp', ...volumes, ...options, 'busybox', 'sh', '-c', script);
const inner = (options, command) => `${INNER} run --rm ${options} busybox ${command}`;

describe('tinyctr in a container of tinyctr’s', () => {
  test('without a limit it needs no preparation', async () => {
    const { code, stdout, stderr } = await outer(inner('', 'sh -c "echo $$; cat /proc/self/cgroup"'));
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: '1\n0::/\n', stderr: '' });
  });

  test('a limit asks for a leaf first, and names the processes that sit in the way', async () => {
    const { code, stderr } = await outer(inner('--memory 32m', 'true'), '--memory', '200m');
    assert.equal(code, 125);
    assert.match(stderr, /can't hand memory to the children of \/sys\/fs\/cgroup: processes sit in it \(1 sh, /);
    assert.match(stderr, /hint: .*\/sys\/fs\/cgroup\/leaf\/cgroup\.procs/);
  });

  test('the inner limit kills inside, the outer container lives; all cgroups are gone at its end', async () => {
    const script = `${LEAF} ${inner('--memory 32m --memory-swap 32m', hog(64))}; echo $?
      ${inner('--memory 32m', 'cat /sys/fs/cgroup/memory.max')}; ls -d /sys/fs/cgroup/*/`;
    const { code, stdout, stderr } = await outer(script, '--memory', '300m', '--name', 'outer');
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '137\n33554432\n/sys/fs/cgroup/leaf/\n/sys/fs/cgroup/tinyctr/\n', stderr);
    assert.match(stderr, /killed by the kernel: memory limit 32 MiB reached, peak 32 MiB/);
    assert.match(stderr, /the kernel killed 1 process: the memory limit of a cgroup below it reached/);
    const left = readdirSync(`${CGROUPS}/tinyctr`, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    assert.deepEqual(left, []);
  });

  test('a larger limit inside is no way around the outer one', async () => {
    const script = `${LEAF} ${inner('--memory 400m', hog(200))}; echo $?`;
    const { stdout, stderr } = await outer(script, '--memory', '120m', '--memory-swap', '120m');
    assert.match(stdout, /^137$/m, stderr);
    assert.match(stderr, /killed by the kernel: out of memory, by the limit of a cgroup above it/);
  });

  test('a controller that the outer container was not given is an error that names it', async () => {
    // Below /tinyctr, pids may be handed on already for another container: below a parent of its own only what this one asks for is.
    const options = ['--memory', '200m', '--cgroup-parent', 'tinyctr-bare'];
    const { code, stderr } = await outer(`${LEAF} ${inner('--pids-limit 20', 'true')}`, ...options);
    assert.equal(code, 125);
    assert.match(stderr, /can't be kept: the pids controller is not in cgroup v2/);
  });
});
