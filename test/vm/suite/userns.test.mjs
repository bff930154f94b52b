// User namespaces, idmapped mounts and time namespaces on the oldest kernel that is tested (6.1): there tmpfs can't be
// idmapped and a detached mount can't be copied.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { busyboxRootfs, checkout, run, tinyctr } from './support.mjs';

const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
const script = 'cat /proc/self/uid_map; id -u; stat -c %u / /bin/busybox; touch /new && stat -c %u /new';
const expected = /^ +0 +1879048192 +65536\n0\n0\n0\n0\n$/;

test('tinyctr run --userns auto, the store on a tmpfs: copies of the layers', async () => {
  const options = ['run', '--name', 'copied', '--userns', 'auto', 'busybox', 'sh', '-c', script];
  const { code, stdout, stderr } = await tinyctr(...options);
  assert.equal(code, 0, stderr);
  assert.match(stdout, expected);
  assert.equal((await tinyctr('rm', 'copied')).code, 0);
  assert.equal((await tinyctr('rmi', 'busybox')).code, 0);
});

describe('a store on ext4', () => {
  const folder = mkdtempSync('/tmp/ext4-');
  before(async () => {
    writeFileSync('/tmp/ext4.image', '');
    for (const command of [
      ['truncate', '-s', '256M', '/tmp/ext4.image'],
      ['mkfs.ext4', '-q', '/tmp/ext4.image'],
      ['mount', '-o', 'loop', '/tmp/ext4.image', folder],
    ]) {
      const { code, stderr } = await run(command[0], command.slice(1));
      assert.equal(code, 0, `${command.join(' ')}: ${stderr}`);
    }
  });
  after(() => run('umount', [folder]));

  test('layers are idmapped, not copied', async () => {
    const store = ['--root', `${folder}/root`, '--run-root', `${folder}/run`];
    const words = [...store, 'run', '--rm', '--userns', 'auto', 'busybox', 'sh', '-c', script];
    const { code, stdout, stderr } = await run(`${checkout}/bin/tinyctr`, words);
    assert.equal(code, 0, stderr);
    assert.match(stdout, expected);
    assert.deepEqual(
      readdirSync(`${folder}/root/layers`).filter((name) => name.includes('.')),
      [],
    );
  });
});

describe('tinyctr-oci', () => {
  let bundles = 0;

  /** A default bundle around busybox with a user namespace, changed by `change(spec)`; its result. */
  async function oci(script, change) {
    const bundle = mkdtempSync('/tmp/bundle-');
    const program = `${checkout}/bin/tinyctr-oci`;
    await run(program, ['spec', '--bundle', bundle]);
    const spec = JSON.parse(readFileSync(`${bundle}/config.json`, 'utf8'));
    spec.root.path = busyboxRootfs();
    chmodSync(spec.root.path, 0o755); // it belongs to the host's root: anybody may look
    mkdirSync(`${spec.root.path}/mnt`);
    spec.process = { ...spec.process, terminal: false, args: ['/bin/busybox', 'sh', '-c', script] };
    spec.linux.namespaces.push({ type: 'user' }, { type: 'time' });
    Object.assign(spec.linux, { uidMappings: map, gidMappings: map, timeOffsets: { boottime: { secs: 1000000 } } });
    change(spec);
    writeFileSync(`${bundle}/config.json`, JSON.stringify(spec));
    return run(program, ['run', '--bundle', bundle, `userns-${++bundles}`]);
  }

  test('a user and a time namespace, devices, masks, a cgroup of its own', async () => {
    const { code, stdout, stderr } = await oci(
      'busybox id -u; cat /proc/self/timens_offsets; echo x > /dev/null && busybox stat -c %u:%t:%T /dev/null; cat /proc/self/cgroup; cat /proc/keys',
      () => {},
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^0\nmonotonic +0 +0\nboottime +1000000 +0\n0:1:3\n0::\/\n$/);
  });

  test('what the host owns stays out of reach', async () => {
    const { stdout } = await oci(
      'echo owned > /proc/sys/kernel/core_pattern; echo h > /proc/sysrq-trigger; busybox mknod /dev/disk b 7 0; echo ran',
      (spec) => {
        const all = JSON.parse(JSON.stringify(spec.process.capabilities.bounding));
        all.push('CAP_SYS_ADMIN', 'CAP_MKNOD', 'CAP_DAC_OVERRIDE');
        spec.process.capabilities = { bounding: all, effective: all, permitted: all };
        Object.assign(spec.linux, { maskedPaths: [], readonlyPaths: [] });
      },
    );
    assert.equal(stdout, 'ran\n');
    assert.notEqual(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), 'owned\n');
  });

  test('an idmapped volume on tmpfs is refused with the kernel that can', async () => {
    const folder = mkdtempSync('/tmp/volume-');
    const { code, stderr } = await oci('true', (spec) =>
      spec.mounts.push({ destination: '/mnt', type: 'bind', source: folder, options: ['rbind', 'idmap'] }),
    );
    assert.equal(code, 1);
    assert.match(stderr, /lies on tmpfs, which can't be idmapped on this kernel/);
    assert.match(stderr, /tmpfs can since Linux 6\.3/);
    assert.equal(statSync(folder).uid, 0);
  });
});
