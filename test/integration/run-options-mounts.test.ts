/** Mounts and devices of `tinyctr run`: -v, --mount, --tmpfs, --read-only, --device, --shm-size, and what is refused. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { Engine, mountsBelow, type Result, scratch } from '../support/tinyctr.ts';

let engine: Engine;
/** A folder with file `file`, folder `sub`, and link `link` to file. */
let data: string;
beforeAll(async () => {
  engine = await new Engine().prepare();
  data = scratch(engine);
  writeFileSync(`${data}/file`, 'content\n');
  mkdirSync(`${data}/sub`);
  symlinkSync('file', `${data}/link`);
});
afterAll(() => engine.remove());

async function expectOutput(script: string, options: string[], stdout: string): Promise<void> {
  expect(await engine.shell(script, ...options)).toEqual({ code: 0, signal: null, stderr: '', stdout });
}

async function expectRefusal(options: string[], message: RegExp): Promise<Result> {
  const result = await engine.shell('echo it ran', ...options);
  expect(result).toMatchObject({ code: 125, stdout: '', stderr: expect.stringMatching(message) });
  return result;
}

/** Options and propagation of a mount, as the container's mountinfo has them. */
const show = (point: string) =>
  `awk '$5 == "${point}" { sub(/,relatime/, "", $6); print $6, $7 }' /proc/self/mountinfo`;

describe('-v', needs({ root: true }), () => {
  test('a folder, to read and write', async () => {
    await expectOutput('cat /d/file /d/link; echo new > /d/new', ['-v', `${data}:/d`], 'content\ncontent\n');
    expect(readFileSync(`${data}/new`, 'utf8')).toBe('new\n');
  });

  test('ro, rw', async () => {
    const result = await engine.shell(`${show('/d')}; echo x > /d/file`, '-v', `${data}:/d:ro`);
    expect(result).toMatchObject({
      code: 1,
      stdout: 'ro -\n',
      stderr: expect.stringContaining('Read-only file system'),
    });
    expect(readFileSync(`${data}/file`, 'utf8')).toBe('content\n');
    await expectOutput(show('/d'), ['-v', `${data}:/d:rw`], 'rw -\n');
  });

  test('a file onto a file, and onto a place where nothing is', async () => {
    const file = `${data}/file`;
    await expectOutput(
      'cat /etc/group /no/such/folder/yet',
      ['-v', `${file}:/etc/group`, '-v', `${file}:/no/such/folder/yet`],
      'content\ncontent\n',
    );
  });

  test('a relative path is the caller’s', async () => {
    const result = await engine.runWith(
      { cwd: data },
      'run',
      '--rm',
      '-v',
      './sub:/d',
      '-v',
      '.:/e',
      'busybox',
      'ls',
      '/e/file',
    );
    expect(result).toMatchObject({ code: 0, stdout: '/e/file\n' });
  });

  test('ro counts for what is mounted below as well', async () => {
    const script = `mount -t tmpfs below ${data}/sub && exec "$@"`;
    const words = [
      ...engine.command,
      'run',
      '--rm',
      '-v',
      `${data}:/d:ro`,
      'busybox',
      'sh',
      '-c',
      `${show('/d/sub')}; touch /d/sub/x 2>&1`,
    ];
    expect(inMountNamespace(script, words)).toMatch(/^ro -\ntouch: .*Read-only file system\n$/);
  });

  test.each([
    ['rprivate', '-'],
    ['rslave', expect.stringMatching(/^master:\d+$/)],
    ['rshared', expect.stringMatching(/^shared:\d+$/)],
  ])('%s', (propagation, expected) => {
    const script = `mount --make-private -t tmpfs peer ${data}/sub && mount --make-shared ${data}/sub && exec "$@"`;
    const words = [
      ...engine.command,
      'run',
      '--rm',
      '-v',
      `${data}/sub:/d:${propagation}`,
      'busybox',
      'sh',
      '-c',
      show('/d'),
    ];
    const [attributes, found] = inMountNamespace(script, words).trim().split(' ');
    expect([attributes, found]).toEqual(['rw', expected]);
  });

  test('rshared: what the container mounts there reaches the host, and nothing else does', () => {
    const script = `
      mount --make-private -t tmpfs peer ${data}/sub && mount --make-shared ${data}/sub && mkdir ${data}/sub/inner
      "$@"; grep -c " ${data}/sub/inner " /proc/self/mountinfo; grep -c "only-inside" /proc/self/mountinfo`;
    const inside = 'mount -t tmpfs reaches /d/inner && mkdir /m && mount -t tmpfs only-inside /m';
    const options = ['--rm', '--cap-add', 'SYS_ADMIN', '-v', `${data}/sub:/d:rshared`];
    const words = [...engine.command, 'run', ...options, 'busybox', 'sh', '-c', inside];
    expect(inMountNamespace(script, words)).toBe('1\n0\n');
  });

  test('a missing source is refused and not made (E4)', async () => {
    const missing = `${data}/not-there`;
    const { stderr } = await expectRefusal(
      ['-v', `${missing}:/d`],
      /can't bind .*not-there on \/d: it does not exist\n/,
    );
    expect(stderr).toContain(`hint: tinyctr never creates the source; make it first: mkdir -p ${missing}`);
    expect(existsSync(missing)).toBe(false);
  });

  test('a file onto a folder, and the other way round, is refused with both kinds (E4)', async () => {
    await expectRefusal(['-v', `${data}/file:/etc`], /the source is a file, in the container there is a directory/);
    await expectRefusal(['-v', `${data}:/etc/passwd`], /the source is a directory, in the container there is a file/);
  });

  test('one over the other, parents first whatever the order', () =>
    expectOutput('cat /d/sub/file; ls /d', ['-v', `${data}:/d/sub`, '--tmpfs', '/d'], 'content\nsub\n'));

  test('over /dev, and over the generated /etc/hosts', async () => {
    await expectOutput('cat /etc/hosts', ['-v', `${data}/file:/etc/hosts`], 'content\n');
    const own = scratch(engine);
    await expectOutput('ls /dev/null; echo x > /dev/null', ['-v', `${own}:/dev`], '/dev/null\n');
  });

  test.each([
    ['/x:relative', /the place in the container 'relative' is not an absolute path/],
    ['/x:/', /the container's root '\/' can't be mounted over/],
    ['/x:/y:ro,rw', /ro and rw exclude each other/],
    ['/x:/y:z', /SELinux labels are not there yet/],
    ['/x:/y:nonsense', /'nonsense' is none of ro, rw/],
    ['~/x:/y', /begins with a '~'/],
    [':/y', /is not \[source:\]destination/],
  ])('-v %s is refused', async (text, message) => {
    await expectRefusal(['-v', text], message);
  });

  test('the same place twice is refused', async () => {
    await expectRefusal(['-v', `${data}:/d`, '-v', `${data}/sub:/d`], /\/d/);
  });
});

describe('--mount and --tmpfs', needs({ root: true }), () => {
  test('--mount type=bind', async () => {
    await expectOutput(
      `cat /d/file; ${show('/d')}`,
      ['--mount', `type=bind,src=${data},dst=/d,readonly`],
      'content\nro -\n',
    );
    await expectOutput(show('/d'), ['--mount', `type=bind,source=${data},target=/d`], 'rw -\n');
  });

  test('--mount type=bind of a missing source is refused', async () => {
    await expectRefusal(['--mount', `type=bind,src=${data}/none,dst=/d`], /it does not exist/);
    expect(existsSync(`${data}/none`)).toBe(false);
  });

  test('--mount type=tmpfs', () =>
    expectOutput(
      `stat -c %a /t; df -k /t | awk 'NR == 2 { print $2 }'`,
      ['--mount', 'type=tmpfs,dst=/t,tmpfs-size=1048576,tmpfs-mode=700'],
      '700\n1024\n',
    ));

  test('--tmpfs with docker’s defaults and with options', async () => {
    await expectOutput(`${show('/t')}; stat -c %a /t`, ['--tmpfs', '/t'], 'rw,nosuid,nodev,noexec -\n1777\n');
    await expectOutput(show('/t'), ['--tmpfs', '/t:exec,ro,size=1m'], 'ro,nosuid,nodev -\n');
  });

  test.each([
    [['--mount', 'type=bind,src=/x'], /target/],
    [['--mount', 'type=nfs,dst=/x'], /type 'nfs' is none of volume, bind, tmpfs/],
    [['--mount', 'type=tmpfs,dst=/x,tmpfs-mode=9'], /tmpfs-mode '9' is not an octal mode/],
    [['--mount', 'type=tmpfs,dst=/x,sizee=1'], /'sizee' is no key of type=tmpfs/],
    [['--tmpfs', '/x:nonsense'], /nonsense/],
    [['--tmpfs', 'x'], /not an absolute path/],
  ])('%j is refused', async (options, message) => {
    await expectRefusal(options, message);
  });
});

describe('--read-only', needs({ root: true }), () => {
  test('the root, and the files of /etc, but neither /dev nor a tmpfs', async () => {
    const script = 'for f in /x /tmp/x /etc/hosts /dev/shm/x /t/x; do (echo > $f) 2>/dev/null && echo $f; done; true';
    await expectOutput(script, ['--read-only', '--tmpfs', '/t'], '/dev/shm/x\n/t/x\n');
  });

  test('mount points are made all the same, and a working directory', () =>
    expectOutput(
      'cat /made/here/file; pwd',
      ['--read-only', '-v', `${data}:/made/here`, '-w', '/also/made'],
      'content\n/also/made\n',
    ));
});

describe('--device and --shm-size', needs({ root: true }), () => {
  const fuse = needs({ root: true, file: '/dev/fuse' });
  const numbers = (path: string) => {
    const { rdev, mode } = statSync(path);
    return `${((rdev >> 8) & 0xfff).toString(16)}:${(rdev & 0xff).toString(16)} ${(mode & 0o777).toString(8)}`;
  };

  test('--device under its own and another name', fuse, async () => {
    await expectOutput(
      'stat -c "%t:%T %a" /dev/fuse && : < /dev/fuse',
      ['--device', '/dev/fuse'],
      `${numbers('/dev/fuse')}\n`,
    );
    await expectOutput(
      'stat -c "%t:%T %a" /dev/deep/name',
      ['--device', '/dev/fuse:/dev/deep/name'],
      `${numbers('/dev/fuse')}\n`,
    );
  });

  test('a device that was not given can’t be opened, even when its node is made', fuse, async () => {
    const [major, minor] = numbers('/dev/fuse')
      .split(' ')[0]!
      .split(':')
      .map((hex) => Number.parseInt(hex, 16));
    const result = await engine.shell(`mknod /dev/mine c ${major} ${minor} && echo made; : < /dev/mine`);
    expect(result).toMatchObject({ stdout: 'made\n', stderr: expect.stringContaining('Operation not permitted') });
    expect(result.code).not.toBe(0);
  });

  test('--device with r only: a write is refused', fuse, async () => {
    const result = await engine.shell(': < /dev/fuse && echo read; : > /dev/fuse', '--device', '/dev/fuse:/dev/fuse:r');
    expect(result).toMatchObject({ stdout: 'read\n', stderr: expect.stringContaining('Operation not permitted') });
  });

  test.each([
    ['/dev/no-such-device', /is no device/],
    ['/etc/passwd', /is no device/],
    ['fuse', /is not an absolute path/],
    ['/dev/null:/dev/x:rwx', /'rwx' is not made of r, w and m/],
  ])('--device %s is refused', async (text, message) => {
    await expectRefusal(['--device', text], message);
  });

  test('--shm-size', () => expectOutput("df -k /dev/shm | awk 'NR == 2 { print $2 }'", ['--shm-size', '8m'], '8192\n'));
});

/** The output of a shell script (the words are "$@") in a mount namespace of its own: what it mounts nobody else sees. */
function inMountNamespace(script: string, words: string[]): string {
  const all = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...words];
  const { signal, stdout, stderr } = spawnSync('unshare', all, { encoding: 'utf8', timeout: 30_000 });
  expect({ signal, stderr }).toEqual({ signal: null, stderr: '' });
  return stdout;
}

test('none of these left a mount on this machine', needs({ root: true }), () => {
  expect(mountsBelow(engine.folder)).toEqual([]);
});
