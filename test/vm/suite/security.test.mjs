// What images and containers must not be able to do to the machine, one test per past hole of other runtimes. Runs in
// the guest: if tinyctr is wrong, it is the guest's kernel that gets a new core_pattern.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';
import { busyboxRootfs, checkout, line, run, tinyctr } from './support.mjs';

const CORE_PATTERN = '/proc/sys/kernel/core_pattern';

/** Imports a root filesystem of busybox, changed by `change(path)`, as image `name`. */
async function importImage(name, change) {
  const rootfs = busyboxRootfs();
  change(rootfs);
  const { code, stderr } = await tinyctr('import', rootfs, name);
  assert.equal(code, 0, stderr);
}

const shell = (script, ...options) => tinyctr('run', '--rm', ...options, 'busybox', 'sh', '-c', script);

describe('/proc/sys and /proc/sysrq-trigger', () => {
  beforeEach(() => writeFileSync(CORE_PATTERN, 'core\n'));

  test('a write to core_pattern works in a privileged container (so the refusals below are not the script’s)', async () => {
    const { stderr } = await shell(`echo owned > ${CORE_PATTERN}`, '--privileged');
    assert.equal(line(CORE_PATTERN), 'owned', stderr);
  });

  for (const file of [CORE_PATTERN, '/proc/sysrq-trigger']) {
    test(`a write to ${file} is refused`, async () => {
      // h makes sysrq print its help, the one letter that does no harm.
      const { code, stdout, stderr } = await shell(`echo ran; echo h > ${file}`);
      assert.equal(stdout, 'ran\n', stderr);
      assert.notEqual(code, 0);
      assert.equal(line(CORE_PATTERN), 'core');
    });
  }

  // Every masked path, and /dev/null itself: with the hole, some of them are core_pattern.
  const writeEverywhere =
    'for f in /dev/null /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do echo owned > $f; done; echo end';

  /** Either the container ran to its end, or it was refused with an error that names the device. */
  function assertRanOrRefused({ stdout, stderr }) {
    assert.ok(stdout.endsWith('end\n') || /\bnull\b/.test(stderr), stderr);
    assert.equal(line(CORE_PATTERN), 'core');
  }

  test('SEC-05: the image’s /dev/null is a link to core_pattern', async () => {
    await importImage('null-link', (rootfs) => symlinkSync(CORE_PATTERN, `${rootfs}/dev/null`));
    assertRanOrRefused(await tinyctr('run', '--rm', 'null-link', 'sh', '-c', writeEverywhere));
  });

  test('SEC-05: a volume on /dev brings a null that is a link to core_pattern', async () => {
    const dev = mkdtempSync('/tmp/dev-');
    symlinkSync(CORE_PATTERN, `${dev}/null`);
    assertRanOrRefused(await shell(writeEverywhere, '-v', `${dev}:/dev`));
  });

  test('SEC-07: the image’s /proc is a link', async () => {
    await importImage('proc-link', (rootfs) => {
      rmSync(`${rootfs}/proc`, { recursive: true });
      symlinkSync('tmp', `${rootfs}/proc`);
    });
    const { code, stdout, stderr } = await tinyctr('run', '--rm', 'proc-link', 'sh', '-c', 'echo ran');
    assert.equal(stdout, '');
    assert.notEqual(code, 0);
    assert.match(stderr, /\/proc/);
  });
});

describe('SEC-10: cgroups', () => {
  const attempts = {
    'mount of cgroup2': 'mkdir -p /tmp/c && mount -t cgroup2 none /tmp/c',
    'mount of a v1 hierarchy': 'mkdir -p /tmp/c && mount -t cgroup -o none,name=x none /tmp/c',
    'a user namespace to mount in': 'unshare -U -r true',
    'remount of /sys/fs/cgroup': 'mount -o remount,rw /sys/fs/cgroup',
    'a new cgroup': 'mkdir /sys/fs/cgroup/x',
    'a write to cgroup.procs': 'echo 1 > /sys/fs/cgroup/cgroup.procs',
  };
  for (const [name, script] of Object.entries(attempts)) {
    test(`${name} is refused`, async () => {
      const { stdout, stderr } = await shell(`echo ran; { ${script}; } && echo done`);
      assert.equal(stdout, 'ran\n', stderr);
    });
  }

  test('mount is refused without seccomp too', async () => {
    const { stdout, stderr } = await shell(
      `echo ran; { ${attempts['mount of cgroup2']}; } && echo done`,
      '--security-opt',
      'seccomp=unconfined',
    );
    assert.equal(stdout, 'ran\n', stderr);
  });
});

describe('block devices', () => {
  const read = (device) => `dd if=${device} bs=6 count=1`;
  before(async () => {
    writeFileSync('/tmp/disk', 'secret'.padEnd(1024 * 1024));
    assert.equal((await run('losetup', ['/dev/loop0', '/tmp/disk'])).code, 0);
  });
  after(() => run('losetup', ['-d', '/dev/loop0']));

  test('one that was given with --device can be read', async () => {
    const { stdout, stderr } = await shell(read('/dev/loop0'), '--device', '/dev/loop0');
    assert.equal(stdout, 'secret', stderr);
  });

  test('one the container makes by itself cannot be opened', async () => {
    for (const dir of ['/tmp', '/dev']) {
      const { stdout, code, stderr } = await shell(`echo ran; mknod ${dir}/disk b 7 0; ${read(`${dir}/disk`)}`);
      assert.equal(stdout, 'ran\n', stderr);
      assert.notEqual(code, 0);
    }
  });
});

describe('SEC-01: the runtime’s own programs', () => {
  /** Every file that is executed or loaded to run a container, with its digest. */
  function digests() {
    const files = [process.execPath];
    for (const dir of ['bin', 'dist', 'native-shim']) {
      for (const entry of readdirSync(`${checkout}/${dir}`, { recursive: true, withFileTypes: true })) {
        if (entry.isFile()) files.push(`${entry.parentPath}/${entry.name}`);
      }
    }
    return Object.fromEntries(
      files.map((file) => [file, createHash('sha256').update(readFileSync(file)).digest('hex')]),
    );
  }
  let original;
  before(() => {
    original = digests();
    assert.ok(
      Object.keys(original).some((file) => file.startsWith(`${checkout}/dist/`)),
      'dist is built on the host',
    );
  });

  test('the image’s command is /proc/self/exe', async () => {
    await importImage('exe-link', (rootfs) => symlinkSync('/proc/self/exe', `${rootfs}/link`));
    for (const command of ['/proc/self/exe', '/link']) {
      const { code } = await tinyctr('run', '--rm', 'exe-link', command);
      assert.ok(code !== 0 && code !== null, `${command} ended with ${code}`);
    }
    assert.deepEqual(digests(), original);
  });

  test('the image’s command is a script for the interpreter /proc/self/exe', async () => {
    await importImage('exe-script', (rootfs) =>
      writeFileSync(`${rootfs}/script`, '#!/proc/self/exe\n', { mode: 0o755 }),
    );
    const { code } = await tinyctr('run', '--rm', 'exe-script', '/script');
    assert.ok(code !== 0 && code !== null, `ended with ${code}`);
    assert.deepEqual(digests(), original);
  });

  test('a process of the container writes to every /proc/PID/exe', async () => {
    const { stdout, stderr } = await shell(
      'echo ran; for exe in /proc/1/exe /proc/self/exe /proc/[0-9]*/exe; do echo owned > $exe; done',
    );
    assert.equal(stdout, 'ran\n', stderr);
    assert.deepEqual(digests(), original);
  });

  test('a process that shares the host’s pid namespace writes to every /proc/PID/exe', async () => {
    // It sees tinyctr itself there, and shares its user: what keeps it out is that tinyctr has more capabilities.
    const { stdout, stderr } = await shell('echo ran; for exe in /proc/[0-9]*/exe; do : > $exe; done', '--pid', 'host');
    assert.equal(stdout, 'ran\n', stderr);
    assert.deepEqual(digests(), original);
  });
});
