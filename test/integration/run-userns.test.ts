/** `tinyctr run --userns`: who is who inside and outside, and what is left on disk. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shiftedLayers } from '../../src/image/shifted.ts';
import { needs } from '../support/need.ts';
import { Engine } from '../support/tinyctr.ts';

/** setfattr(1), for values in hex. */
function setXattr(path: string, name: string, hex: string): void {
  const words = [path, name].map((word) => JSON.stringify(word)).join(', ');
  spawnSync('python3', ['-c', `import os; os.setxattr(${words}, bytes.fromhex('${hex}'))`]);
}

let engine: Engine;
beforeAll(async () => {
  engine = await new Engine().prepare();
});
afterAll(() => engine.remove());

const auto = ['--userns', 'auto'];
/** What `cat /proc/self/uid_map` says of a whole range. */
const firstOf = (text: string) => Number(/^ +0 +(\d+) +65536\n/.exec(text)?.[1]);

describe('auto', needs({ root: true }), () => {
  test('root inside is nobody outside, with a range of its own; the image’s files are root’s and can be changed', async () => {
    const script = `cat /proc/self/uid_map; id -u; stat -c %u:%g / /bin/busybox /etc/nsswitch.conf /etc/hosts
      echo more >> /etc/nsswitch.conf && touch /new && chown 1000:1000 /new && stat -c %u:%g /new`;
    const { code, stdout, stderr } = await engine.shell(script, ...auto);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(firstOf(stdout)).toBeGreaterThan(65535);
    expect(stdout.split('\n').slice(1)).toEqual(['0', '0:0', '0:0', '0:0', '0:0', '1000:1000', '']);
  });

  test('what it writes belongs to the mapped ids, and rm removes it', async () => {
    const script = 'cat /proc/self/uid_map; mkdir /folder && touch /folder/file && chown 1000 /folder/file';
    const { stdout } = await engine.run('run', '--name', 'kept', ...auto, 'busybox', 'sh', '-c', script);
    const [id] = engine.containers();
    const upper = `${engine.root}/containers/${id}/upper`;
    const first = firstOf(stdout);
    expect(statSync(`${upper}/folder`)).toMatchObject({ uid: first, gid: first });
    expect(statSync(`${upper}/folder/file`)).toMatchObject({ uid: first + 1000, gid: first });

    const other = await engine.shell('cat /proc/self/uid_map', ...auto);
    expect(firstOf(other.stdout)).not.toBe(first); // kept has it still
    expect(await engine.run('rm', 'kept')).toMatchObject({ code: 0 });
    expect(engine.containers()).toEqual([]);
    expect(firstOf((await engine.shell('cat /proc/self/uid_map', ...auto)).stdout)).toBe(first);
  });

  test('containers that start together get different ranges', async () => {
    const all = await Promise.all([1, 2, 3].map(() => engine.shell('cat /proc/self/uid_map; sleep 3', ...auto)));
    expect(new Set(all.map(({ stdout }) => firstOf(stdout))).size).toBe(3);
  });

  test('a device, limits, an init, a user, a read-only root, as without it', async () => {
    const options = [
      ...auto,
      '--device',
      '/dev/zero:/dev/other',
      '--ulimit',
      'nofile=100:200',
      '--init',
      '--read-only',
    ];
    const script =
      'id -u; head -c 3 /dev/other | wc -c; ulimit -n; touch /x 2> /dev/null || echo read-only; cat /proc/1/comm';
    const { stdout } = await engine.shell(script, ...options, '-u', '1000');
    expect(stdout).toBe('1000\n3\n100\nread-only\nmemfd:init\n');
  });

  test('it has no power over what belongs to the host: a file of root’s in a volume, mount flags, a setting', async () => {
    const folder = mkdtempSync(`${engine.folder}/volume-`);
    writeFileSync(`${folder}/secret`, 'secret', { mode: 0o600 });
    chmodSync(folder, 0o755);
    const script = `cat /mnt/secret; touch /mnt/new; chown 0 /mnt/secret; mount -o remount,rw,bind /mnt; umount /proc/sys
      echo 1 > /proc/sys/kernel/panic; stat -c %u /mnt/secret`;
    const options = [...auto, '-v', `${folder}:/mnt:ro`, '--cap-add', 'ALL', '--security-opt', 'seccomp=unconfined'];
    expect((await engine.shell(script, ...options)).stdout).toBe('65534\n');
    expect(readdirSync(folder)).toEqual(['secret']);
  });

  test('-v …:idmap shows a volume with the container’s owners', async () => {
    const folder = mkdtempSync(`${engine.folder}/volume-`);
    writeFileSync(`${folder}/roots`, 'content', { mode: 0o600 });
    const { stdout } = await engine.shell(
      'stat -c %u /mnt/roots; cat /mnt/roots; touch /mnt/new',
      ...auto,
      '-v',
      `${folder}:/mnt:idmap`,
    );
    expect(stdout).toBe('0\ncontent');
    expect(statSync(`${folder}/new`).uid).toBe(0);
    const without = await engine.shell('true', '-v', `${folder}:/mnt:idmap`);
    expect(without).toMatchObject({ code: 125, stderr: expect.stringContaining('with --userns only') });
  });

  test('with the host’s network: its interfaces, read-only', async () => {
    const { code, stdout } = await engine.shell(
      'ls /sys/class/net; touch /sys/x 2> /dev/null || echo refused',
      ...auto,
      '--network',
      'host',
    );
    expect(code).toBe(0);
    expect(stdout.trim().split('\n')).toEqual([...readdirSync('/sys/class/net').sort(), 'refused']);
  });

  test('nothing is left of one that could not start', async () => {
    const { code } = await engine.shell('true', ...auto, '--workdir', '/proc/self/fd/3');
    expect(code).toBe(125);
    expect(engine.containers()).toEqual([]);
    expect(engine.states()).toEqual([]);
  });
});

describe('keep-id', needs({ root: true }), () => {
  const sudo = { env: { SUDO_UID: '1234', SUDO_GID: '1235' } };
  const keepId = (...words: string[]) => engine.runWith(sudo, 'run', '--rm', '--userns', 'keep-id', ...words);

  test('the caller is the same inside and outside, and the process is the caller', async () => {
    const folder = mkdtempSync(`${engine.folder}/volume-`);
    chownSync(folder, 1234, 1235);
    const { stdout } = await keepId(
      '-v',
      `${folder}:/mnt`,
      'busybox',
      'sh',
      '-c',
      'id -u; id -g; touch /mnt/mine; stat -c %u /mnt/mine /etc',
    );
    expect(stdout).toBe('1234\n1235\n1234\n0\n');
    expect(statSync(`${folder}/mine`)).toMatchObject({ uid: 1234, gid: 1235 });
  });

  test('--user chooses somebody else, who is somebody else outside', async () => {
    const { stdout } = await keepId('--user', '0', 'busybox', 'sh', '-c', 'id -u; cat /proc/self/uid_map');
    expect(stdout).toMatch(/^0\n +0 +\d{6,} +1234\n +1234 +1234 +1\n +1235 +\d{6,} +64301\n$/);
  });

  test('root has nothing to keep', async () => {
    const { code, stderr } = await engine.shell('true', '--userns', 'keep-id');
    expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining('the caller is root') });
  });
});

describe('refused', needs({ root: true }), () => {
  test.each([
    [['--privileged'], '--privileged and --userns=auto exclude each other'],
    [['--pid', 'host'], '--pid=host and --userns=auto exclude each other'],
    [['--cgroupns', 'host'], '--cgroupns=host and --userns=auto exclude each other'],
    [['--userns', 'nomap'], "--userns 'nomap' is not there yet"],
    [['--userns', 'atuo'], "--userns 'atuo' is unknown"],
  ])('%j', async (options, message) => {
    const { code, stderr } = await engine.shell('true', ...auto, ...options);
    expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining(message) });
  });
});

describe('a copy of the layers, where they can’t be idmapped', needs({ root: true, command: 'python3' }), () => {
  const maps = {
    uid: [{ containerID: 0, hostID: 300000, size: 65536 }],
    gid: [{ containerID: 0, hostID: 400000, size: 65536 }],
  };

  test('has the mapped owners, modes, links, file capabilities and overlayfs’s marks, once; rmi removes it with its layer', async () => {
    const name = await engine.image((rootfs) => {
      writeFileSync(`${rootfs}/setuid`, 'x');
      chownSync(`${rootfs}/setuid`, 5, 6);
      chmodSync(`${rootfs}/setuid`, 0o4755);
      symlinkSync('nowhere', `${rootfs}/link`);
      writeFileSync(`${rootfs}/ping`, 'x', { mode: 0o755 });
      setXattr(`${rootfs}/ping`, 'security.capability', '0100000200200000000000000000000000000000'); // cap_net_raw=ep
    });
    const { stdout } = await engine.run('inspect', name);
    const layers = readdirSync(`${engine.root}/layers`).filter((layer) =>
      existsSync(`${engine.root}/layers/${layer}/setuid`),
    );
    expect(layers, stdout).toHaveLength(1);
    const layer = `${engine.root}/layers/${layers[0]}`;
    spawnSync('mknod', [`${layer}/gone`, 'c', '0', '0']); // as a layer above another has it
    mkdirSync(`${layer}/opaque`);
    setXattr(`${layer}/opaque`, 'trusted.overlay.opaque', '79');

    const [copyName] = await shiftedLayers(engine.root, layers, maps);
    const copy = `${engine.root}/layers/${copyName}`;
    expect(lstatSync(`${copy}/bin/busybox`)).toMatchObject({ uid: 300000, gid: 400000 });
    expect(lstatSync(`${copy}/setuid`)).toMatchObject({ uid: 300005, gid: 400006, mode: 0o104755 });
    expect(lstatSync(`${copy}/link`).isSymbolicLink()).toBe(true);
    expect(lstatSync(`${copy}/gone`)).toMatchObject({ rdev: 0, mode: 0o20000 });
    const xattr = (path: string, key: string) =>
      spawnSync(
        'python3',
        ['-c', `import os; print(os.getxattr(${JSON.stringify(path)}, ${JSON.stringify(key)}).hex())`],
        { encoding: 'utf8' },
      ).stdout.trim();
    expect(xattr(`${copy}/opaque`, 'trusted.overlay.opaque')).toBe('79');
    expect(xattr(`${copy}/ping`, 'security.capability')).toMatch(/^01000003(00200000|.{8}).{24}e0930400$/);

    const [before, again] = [statSync(copy).ino, await shiftedLayers(engine.root, layers, maps)];
    expect([again, statSync(copy).ino]).toEqual([[copyName], before]);
    await engine.run('rmi', name);
    expect([existsSync(layer), existsSync(copy)]).toEqual([false, false]);
  });
});

test(
  'the ranges come from /etc/subuid and /etc/subgid, if they name tinyctr or containers',
  needs({ root: true, file: ['/etc/subuid', '/etc/subgid'] }),
  async () => {
    const file = `${engine.folder}/subuid`;
    writeFileSync(file, 'somebody:100000:65536\ncontainers:2000000:131072\n');
    const inside = [
      'mount --make-rprivate /',
      `mount --bind ${file} /etc/subuid && mount --bind ${file} /etc/subgid && exec "$@"`,
    ].join(' && ');
    const words = (...more: string[]) => ['-m', 'sh', '-c', inside, 'sh', ...engine.command, 'run', ...auto, ...more];
    const run = (...more: string[]) => spawnSync('unshare', words(...more), { encoding: 'utf8' });
    expect(firstOf(run('--name', 'one', 'busybox', 'cat', '/proc/self/uid_map').stdout)).toBe(2000000);
    expect(firstOf(run('--name', 'two', 'busybox', 'cat', '/proc/self/uid_map').stdout)).toBe(2065536);
    const third = run('--rm', 'busybox', 'true');
    expect(third.stderr).toContain('all 2 ranges of 65536 ids are in use by containers');
    await engine.run('rm', 'one', 'two');
    expect(readFileSync(file, 'utf8')).toContain('containers');
  },
);
