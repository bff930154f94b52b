/** Volumes: made, listed, filled from the image, shared, kept, removed; and what is hostile about them. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { needs } from '../support/need.ts';
import { dockerArchive } from '../support/saved-image.ts';
import { Engine, scratch, until } from '../support/tinyctr.ts';

describe('volumes', needs({ root: true }), () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await new Engine().prepare();
    await loadImage();
  });
  afterEach(async () => {
    const ids = engine.containers();
    if (ids.length > 0) await engine.run('rm', '-f', ...ids);
    for (const name of names()) await engine.run('volume', 'rm', name);
    expect(names()).toEqual([]);
  }, 60_000);
  afterAll(async () => {
    await engine.quiet();
    engine.remove();
  }, 60_000);

  const folder = () => `${engine.root}/volumes`;
  /** All that is there, half-made ones too. */
  const names = () => (existsSync(folder()) ? readdirSync(folder()).sort() : []);
  const data = (name: string) => `${folder()}/${name}/_data`;
  const anonymous = () => names().filter((name) => /^[0-9a-f]{64}$/.test(name));
  const refused = async (words: string[], message: RegExp, code = 125) =>
    expect(await engine.run(...words)).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
  const json = async (...words: string[]) => JSON.parse(await engine.must(...words));

  /** Two layers: `full` has a file of each kind at /data, and an empty place for it; the second takes one away. */
  async function loadImage(): Promise<void> {
    const rootfs = engine.rootfs();
    const at = (path: string) => `${rootfs}/data/${path}`;
    mkdirSync(at('sub/deep'), { recursive: true });
    mkdirSync(`${rootfs}/empty`);
    writeFileSync(at('file'), 'from the image\n');
    chownSync(at('file'), 12, 34);
    chmodSync(at('file'), 0o4751);
    utimesSync(at('file'), 1_000_000_000, 1_000_000_000);
    linkSync(at('file'), at('sub/same'));
    symlinkSync('/etc/passwd', at('link'));
    execFileSync('mkfifo', [at('fifo')]);
    execFileSync('mknod', [at('zero'), 'c', '1', '5']);
    writeFileSync(at('gone'), '');
    chownSync(at('sub'), 1000, 1000);
    utimesSync(at('sub'), 1_000_000_001, 1_000_000_001);
    symlinkSync('/data/sub', `${rootfs}/way`);
    symlinkSync('../../../..', `${rootfs}/up`);
    chmodSync(`${rootfs}/data`, 0o1770);
    chownSync(`${rootfs}/data`, 5, 6);
    utimesSync(`${rootfs}/data`, 1_000_000_002, 1_000_000_002);
    const above = scratch(engine);
    mkdirSync(`${above}/data`, { mode: 0o755 });
    chmodSync(`${above}/data`, 0o1770);
    chownSync(`${above}/data`, 5, 6);
    writeFileSync(`${above}/data/.wh.gone`, '');
    writeFileSync(`${above}/data/second`, 'layer\n');
    utimesSync(`${above}/data`, 1_000_000_002, 1_000_000_002);
    const layers = [rootfs, above].map((path) => execFileSync('tar', ['-C', path, '-c', '.'], { maxBuffer: 1 << 26 }));
    const config = { Cmd: ['sh'], Volumes: { '/data': {}, '/new/place': {} } };
    writeFileSync(`${engine.folder}/plain.tar`, dockerArchive({ layers, tags: ['full:latest'] }));
    writeFileSync(`${engine.folder}/made.tar`, dockerArchive({ layers, tags: ['made:latest'], more: { config } }));
    await engine.must('load', '-i', `${engine.folder}/plain.tar`);
    await engine.must('load', '-i', `${engine.folder}/made.tar`);
  }

  describe('tinyctr volume', () => {
    test('create, ls, inspect, rm: docker’s names', async () => {
      expect(await engine.must('volume', 'create', 'first')).toBe('first');
      expect(await engine.must('volume', 'create', 'first')).toBe('first'); // as with docker
      await engine.must('volume', 'create', '--label', 'k=v', '--label', 'only', 'second');
      const made = await engine.must('volume', 'create');
      expect(made).toMatch(/^[0-9a-f]{64}$/);
      expect(await engine.must('volume', 'ls', '-q')).toBe(`${made}\nfirst\nsecond`);
      expect((await engine.must('volume', 'ls')).split('\n').slice(0, 2)).toEqual([
        'DRIVER    VOLUME NAME',
        `local     ${made}`,
      ]);
      expect(await json('volume', 'inspect', 'second')).toEqual([
        {
          CreatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
          Driver: 'local',
          Labels: { k: 'v', only: '' },
          Mountpoint: data('second'),
          Name: 'second',
          Options: null,
          Scope: 'local',
        },
      ]);
      expect(await json('volume', 'ls', '--filter', 'label=k', '--format', 'json')).toMatchObject({
        ...{ Name: 'second', Driver: 'local', Labels: 'k=v,only=', Scope: 'local', Mountpoint: data('second') },
      });
      expect(await json('volume', 'inspect', made)).toMatchObject([{ Labels: { 'com.docker.volume.anonymous': '' } }]);
      expect(await engine.must('volume', 'rm', 'first', 'second', made)).toBe(`first\nsecond\n${made}`);
    });

    test('is the host’s root’s alone', async () => {
      await engine.must('volume', 'create', 'own');
      for (const path of [folder(), `${folder()}/own`]) expect(statSync(path).mode & 0o7777).toBe(0o700);
      expect(statSync(`${folder()}/own/volume.json`).mode & 0o7777).toBe(0o600);
      expect(statSync(data('own')).mode & 0o7777).toBe(0o755);
    });

    test.each([
      [['create', 'x'], /'x' is no name of a volume/],
      [['create', '../x'], /'..\/x' is no name of a volume/],
      [['create', '.x'], /no name of a volume/],
      [['create', '-d', 'nfs', 'name'], /there are no drivers but local/],
      [['create', '-o', 'type=tmpfs', 'name'], /--opt is refused/],
      [['create', '--label', '=v', 'name'], /has no key/],
      [['ls', '--filter', 'size=3'], /--filter 'size=3' is not understood/],
      [['inspect', '--format', '{{.Name}}', 'name'], /jq/],
      [['prune', '-f', '--filter', 'until=1h'], /is not understood/],
    ])('%j is refused', async (words, message) => {
      await refused(['volume', ...words], message);
      expect(names()).toEqual([]);
    });

    test('one that is not there; others are removed all the same', async () => {
      await engine.must('volume', 'create', 'there');
      expect(await engine.run('volume', 'inspect', 'gone')).toMatchObject({
        ...{ code: 1, stdout: '[]\n', stderr: 'tinyctr: no such volume: gone\n' },
      });
      const { code, stdout, stderr } = await engine.run('volume', 'rm', 'gone', '../volumes', 'there');
      expect({ code, stdout }).toEqual({ code: 1, stdout: 'there\n' });
      expect(stderr).toBe('tinyctr: no such volume: gone\ntinyctr: no such volume: ../volumes\n');
      expect(existsSync(folder())).toBe(true);
      expect(await engine.must('volume', 'rm', '-f', 'gone')).toBe('gone');
    });

    test('other labels for one that is there are refused', async () => {
      await engine.must('volume', 'create', '--label', 'a=1', 'labelled');
      await engine.must('volume', 'create', '--label', 'a=1', 'labelled');
      await refused(['volume', 'create', '--label', 'a=2', 'labelled'], /is there already, with other labels/, 1);
    });

    test('prune: anonymous ones, or all; none that a container has', async () => {
      await engine.must('volume', 'create', 'named');
      await engine.must('volume', 'create', '--label', 'keep', 'kept');
      await engine.must('volume', 'create');
      await engine.must('create', '-v', 'used:/v', '-v', '/anonymous', 'busybox', 'true');
      writeFileSync(`${data('named')}/file`, Buffer.alloc(1000));
      expect(await engine.run('volume', 'prune')).toMatchObject({ code: 0, stdout: expect.stringContaining('[y/N]') });
      expect(anonymous()).toHaveLength(2);
      expect(await engine.must('volume', 'prune', '-f')).toMatch(
        /^Deleted Volumes:\n[0-9a-f]{64}\n\nTotal reclaimed space: 0B$/,
      );
      expect(await engine.must('volume', 'prune', '-a', '-f', '--filter', 'label!=keep')).toBe(
        'Deleted Volumes:\nnamed\n\nTotal reclaimed space: 1kB',
      );
      expect(names()).toEqual([...anonymous(), 'kept', 'used']);
      expect(anonymous()).toHaveLength(1);
    });
  });

  describe('a container’s', () => {
    test('named one is made when it is missing, shared by those that run, and outlives them', async () => {
      const script = 'echo one > /v/one; while [ ! -e /v/two ]; do sleep 0.05; done; cat /v/two';
      const first = engine.run('run', '--rm', '-v', 'shared:/v', 'busybox', 'sh', '-c', script);
      await until('the first has written', () => existsSync(`${data('shared')}/one`), 30_000);
      expect(await engine.shell('cat /v/one; echo two > /v/two', '-v', 'shared:/v')).toMatchObject({ stdout: 'one\n' });
      expect(await first).toMatchObject({ code: 0, stdout: 'two\n' });
      expect(await engine.shell('ls /x; touch /x/three', '-v', 'shared:/x:ro')).toMatchObject({
        ...{ code: 1, stdout: 'one\ntwo\n', stderr: expect.stringContaining('Read-only file system') },
      });
    });

    test('a volume is in use as long as a container has it, running or not', async () => {
      await engine.must('create', '--name', 'young', '-v', 'used:/v', 'busybox', 'true');
      await engine.must('create', '--mount', 'src=used,dst=/w', 'busybox', 'true');
      await refused(
        ['volume', 'rm', 'used'],
        /^tinyctr: the volume used is in use by container [0-9a-f]{12} and 1 more\n/,
        1,
      );
      await engine.must('rm', ...engine.containers());
      await engine.run('run', '--name', 'ended', '-v', 'used:/v', 'busybox', 'true');
      await refused(['volume', 'rm', '-f', 'used'], /in use by container [0-9a-f]{12}\n/, 1);
      expect(await engine.must('volume', 'ls', '-q', '--filter', 'dangling=true')).toBe('');
      expect(await engine.must('volume', 'ls', '-q', '--filter', 'dangling=false')).toBe('used');
      await engine.must('rm', 'ended');
      expect(await engine.must('volume', 'rm', 'used')).toBe('used');
    });

    test('a damaged record still counts; where nothing can be read, nothing is removed', async () => {
      const id = await engine.must('create', '-v', 'used:/v', 'busybox', 'true');
      const container = `${engine.root}/containers/${id}`;
      writeFileSync(`${container}/container.json`, '{');
      await refused(['volume', 'rm', 'used'], /in use by container/, 1);
      renameSync(`${container}/config.json`, `${container}/config.old`);
      await refused(['volume', 'rm', 'used'], /both its records are damaged\n.*hint: tinyctr rm/s, 1);
    });

    test('anonymous ones go with --rm and rm -v, and stay otherwise; named ones always stay', async () => {
      const mounts = ['-v', '/one', '--mount', 'type=volume,dst=/two', '-v', 'named:/three'];
      expect(await engine.shell('touch /one/a /two/b /three/c', ...mounts)).toMatchObject({ code: 0 });
      expect(names()).toEqual(['named']);
      await engine.must('create', '--name', 'with', ...mounts, 'busybox', 'true');
      await engine.must('create', '--name', 'without', ...mounts, 'busybox', 'true');
      expect(anonymous()).toHaveLength(4);
      await engine.must('rm', '-v', 'with');
      await engine.must('rm', 'without');
      expect(anonymous()).toHaveLength(2);
      const [one] = anonymous();
      await engine.must('create', '--name', 'takes', '-v', `${one}:/x`, 'busybox', 'true');
      await engine.must('rm', '-v', 'takes'); // it gave it a name: not its own
      expect(anonymous()).toContain(one);
    });

    test('an anonymous one that another container has taken stays', async () => {
      await engine.must('create', '--name', 'maker', '-v', '/one', 'busybox', 'true');
      const [one] = anonymous();
      await engine.must('create', '--name', 'taker', '-v', `${one}:/x`, 'busybox', 'true');
      await engine.must('rm', '-v', 'maker');
      expect(anonymous()).toEqual([one]);
    });

    test('with --rm in the background, they go as well', async () => {
      await engine.must('run', '-d', '--rm', '-v', '/one', 'busybox', 'true');
      await until('container and volume are gone', () => engine.containers().length + names().length === 0, 30_000);
    });

    test('a command that is not there leaves no anonymous one', async () => {
      await refused(['run', '-v', '/one', '-v', 'named:/x', 'busybox', 'nonsense'], /nonsense/, 127);
      expect(names()).toEqual(['named']);
    });

    test('volume-label is for a volume that is made', async () => {
      await engine.must('create', '--mount', 'src=labelled,dst=/v,volume-label=a=b', 'busybox', 'true');
      expect(await json('volume', 'inspect', 'labelled')).toMatchObject([{ Labels: { a: 'b' } }]);
    });

    test('volume-subpath is a folder or file of the volume, and no way out of it', async () => {
      await engine.must('volume', 'create', 'parts');
      mkdirSync(`${data('parts')}/a/b`, { recursive: true });
      writeFileSync(`${data('parts')}/a/b/file`, 'inside\n');
      mkdirSync(`${data('parts')}/etc`);
      symlinkSync('/etc', `${data('parts')}/out`);
      symlinkSync('../../../../..', `${data('parts')}/up`);
      const at = (path: string) => ['--mount', `src=parts,dst=/v,volume-subpath=${path}`];
      expect(await engine.shell('cat /v/file', ...at('a/b'))).toMatchObject({ stdout: 'inside\n' });
      expect(await engine.shell('cat /v', ...at('a/b/file'))).toMatchObject({ stdout: 'inside\n' });
      expect(await engine.shell('ls -A /v', ...at('out'))).toMatchObject({ code: 0, stdout: '' });
      expect(await engine.shell('ls -A /v', ...at('up'))).toMatchObject({ code: 0, stdout: 'a\netc\nout\nup\n' });
      const gone = await engine.shell('echo ran', ...at('a/none'));
      expect(gone).toMatchObject({ code: 125, stdout: '', stderr: expect.stringContaining('has no a/none') });
    });

    test('mounts in each other, parents first', async () => {
      const script = 'touch /a/outer /a/b/inner; ls /a /a/b';
      expect(await engine.shell(script, '-v', 'inner:/a/b', '-v', 'outer:/a')).toMatchObject({
        stdout: '/a:\nb\nouter\n\n/a/b:\ninner\n',
      });
      expect(readdirSync(data('inner'))).toEqual(['inner']);
      expect(readdirSync(data('outer')).sort()).toEqual(['b', 'outer']);
    });

    test('data is there again after stop and start', async () => {
      const script = 'echo more >> /v/log; wc -l < /v/log';
      await engine.must('create', '--name', 'again', '-v', '/v', 'busybox', 'sh', '-c', script);
      expect(await engine.run('start', '-a', 'again')).toMatchObject({ stdout: '1\n' });
      expect(await engine.run('start', '-a', 'again')).toMatchObject({ stdout: '2\n' });
    });
  });

  test('inspect, ps and system df know of volumes', async () => {
    await engine.must(
      'create',
      '--name',
      'shown',
      '-v',
      'named:/a:ro',
      '-v',
      '/b',
      '--mount',
      'src=parts,dst=/c,volume-subpath=x',
      'made',
      'true',
    );
    writeFileSync(`${data('parts')}/file`, Buffer.alloc(2000));
    const [{ Mounts, Config, HostConfig }] = await json('inspect', 'shown');
    const common = { Type: 'volume', Driver: 'local', Propagation: '', RW: true };
    const of = (place: string) => Mounts.find(({ Destination }: { Destination: string }) => Destination === place);
    expect(of('/a')).toEqual({
      ...common,
      Name: 'named',
      Source: data('named'),
      Destination: '/a',
      Mode: 'ro',
      RW: false,
    });
    expect(of('/c')).toEqual({ ...common, Name: 'parts', Source: data('parts'), Destination: '/c', Mode: 'z' });
    for (const place of ['/b', '/data', '/new/place']) {
      const name = of(place)?.Name;
      expect(anonymous()).toContain(name);
      expect(of(place)).toEqual({ ...common, Name: name, Source: data(name), Destination: place, Mode: '' });
    }
    expect(Config.Volumes).toEqual({ '/b': {}, '/data': {}, '/new/place': {} });
    expect(HostConfig.Binds).toEqual(['named:/a:ro']);
    expect(await json('ps', '-a', '--format', 'json')).toMatchObject({ LocalVolumes: '5' });
    await engine.must('volume', 'create', 'free');
    writeFileSync(`${data('free')}/file`, Buffer.alloc(1000));
    const rows = (await engine.must('system', 'df', '--format', 'json')).split('\n').map((line) => JSON.parse(line));
    expect(rows.find(({ Type }) => Type === 'Local Volumes')).toEqual({
      ...{ Type: 'Local Volumes', TotalCount: '6', Active: '5', Size: '3.03kB', Reclaimable: '1kB (32%)' },
    });
    const { Volumes } = await json('system', 'df', '-v', '--format', 'json');
    expect(Volumes).toContainEqual({ Name: 'parts', Links: '1', Size: '2kB' });
    expect(await engine.must('system', 'df', '-v')).toMatch(/VOLUME NAME +LINKS +SIZE\n/);
  });

  describe('copy-up', () => {
    const script = `cd /data; stat -c '%n %F %a %u:%g %h %Y' . file sub sub/same link fifo sub/deep; stat -c '%n %t,%T' zero
      readlink link; cat file second; ls -A; ls -A /new/place`;
    const whole = `. directory 1770 5:6 3 1000000002
file regular file 4751 12:34 2 1000000000
sub directory 755 1000:1000 3 1000000001
sub/same regular file 4751 12:34 2 1000000000
`;

    test('an image’s VOLUME: owners, modes, times, links and devices, and the folder’s own', async () => {
      const { code, stdout, stderr } = await engine.run('run', '--rm', 'made', 'sh', '-c', script);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toContain(whole);
      expect(stdout).toMatch(/^link symbolic link 777 0:0 1 /m);
      expect(stdout).toMatch(/^fifo fifo 644 0:0 1 /m);
      expect(stdout).toContain('zero 1,5\n/etc/passwd\nfrom the image\nlayer\nfifo\nfile\nlink\nsecond\nsub\nzero\n');
      expect(names()).toEqual([]);
    });

    test('is in the volume once the container is made, and another image’s files don’t mix with it', async () => {
      await engine.must('create', '-v', 'copy:/data', 'full', 'true');
      expect(lstatSync(data('copy'))).toMatchObject({ uid: 5, gid: 6, mtimeMs: 1_000_000_002_000 });
      expect(readdirSync(data('copy')).sort()).toEqual(['fifo', 'file', 'link', 'second', 'sub', 'zero']);
      expect(statSync(`${data('copy')}/file`).ino).toBe(statSync(`${data('copy')}/sub/same`).ino);
      await engine.must('create', '-v', 'copy:/etc', 'busybox', 'true');
      expect(existsSync(`${data('copy')}/passwd`)).toBe(false);
      expect(readdirSync(`${folder()}/copy`).sort()).toEqual(['_data', 'volume.json']);
    });

    test('extended attributes', needs({ command: 'python3' }), async () => {
      const set = (path: string, name: string, hex: string) =>
        execFileSync('python3', ['-c', `import os; os.setxattr("${path}", "${name}", bytes.fromhex("${hex}"))`]);
      const capability = '0100000200040000000000000000000000000000'; // cap_net_bind_service=ep
      const image = await engine.image((rootfs) => {
        mkdirSync(`${rootfs}/data`);
        writeFileSync(`${rootfs}/data/file`, '');
        set(`${rootfs}/data/file`, 'security.capability', capability);
        set(`${rootfs}/data`, 'trusted.note', '61');
      });
      await engine.must('create', '-v', 'attributes:/data', image, 'true');
      const get = (path: string, name: string) =>
        execFileSync('python3', ['-c', `import os; print(os.getxattr("${path}", "${name}").hex())`], {
          encoding: 'utf8',
        });
      expect(get(`${data('attributes')}/file`, 'security.capability')).toBe(`${capability}\n`);
      expect(get(data('attributes'), 'trusted.note')).toBe('61\n');
    });

    test('only into an empty one, not with nocopy, not of a place that the image has not', async () => {
      await engine.must('volume', 'create', 'filled');
      writeFileSync(`${data('filled')}/own`, '');
      const options = ['-v', 'filled:/data', '-v', 'bare:/data/sub:nocopy', '-v', 'none:/none', '-v', 'void:/empty'];
      await engine.must('create', ...options, '--mount', 'src=bare2,dst=/etc,volume-nocopy', 'full', 'true');
      expect(readdirSync(data('filled'))).toEqual(['own']);
      for (const name of ['bare', 'bare2', 'none', 'void']) expect(readdirSync(data(name))).toEqual([]);
      expect(lstatSync(data('bare'))).toMatchObject({ uid: 0, gid: 0 });
      await engine.must('create', '-v', 'bare:/data', 'full', 'true'); // empty still
      expect(readdirSync(data('bare'))).toContain('second');
    });

    test('a link of the image is followed inside of it, as the mount is', async () => {
      expect(
        await engine.run('run', '-v', 'way:/way', '-v', 'up:/up/etc', 'full', 'ls', '/way', '/data/sub'),
      ).toMatchObject({
        stdout: '/data/sub:\ndeep\nsame\n\n/way:\ndeep\nsame\n',
      });
      expect(readdirSync(data('way')).sort()).toEqual(['deep', 'same']);
      expect(readFileSync(`${data('up')}/passwd`, 'utf8')).toBe(
        (await engine.run('run', '--rm', 'full', 'cat', '/etc/passwd')).stdout,
      );
    });

    test('a volume on a file of the image is refused, and nothing is left of the container', async () => {
      await refused(
        ['create', '-v', 'file:/data/file', 'full', 'true'],
        /can't be mounted on \/data\/file: in the image that is a file/,
      );
      expect(engine.containers()).toEqual([]);
    });

    test('two containers at once fill a volume once', async () => {
      const image = await engine.image((rootfs) => {
        mkdirSync(`${rootfs}/data`);
        for (let i = 0; i < 300; i++) writeFileSync(`${rootfs}/data/${i}`, 'x'.repeat(1000));
      });
      const look = ['sh', '-c', 'ls /data | wc -l; cat /data/* | wc -c'];
      const all = await Promise.all(
        Array.from({ length: 4 }, () => engine.run('run', '--rm', '-v', 'race:/data', image, ...look)),
      );
      for (const one of all) expect(one).toMatchObject({ code: 0, stdout: '300\n300000\n', stderr: '' });
      expect(readdirSync(`${folder()}/race`).sort()).toEqual(['_data', 'volume.json']);
    });

    test('a full disk is told, and the volume does not look filled', async () => {
      const disk = scratch(engine);
      const image = await engine.image((rootfs) => {
        mkdirSync(`${rootfs}/data`);
        writeFileSync(`${rootfs}/data/large`, Buffer.alloc(3_000_000, 'x'));
      });
      await engine.must('volume', 'create', 'small');
      const words = [...engine.command, 'create', '-v', 'small:/data', image, 'true'];
      // A small file system for the volume, in a mount namespace of its own.
      const mount = `cp -a ${folder()}/small ${disk}/ && mount -t tmpfs -o size=1m small ${folder()}/small && cp -a ${disk}/small/. ${folder()}/small/`;
      const after = `ls -A ${folder()}/small ${folder()}/small/_data`;
      const result = spawnSync('unshare', ['-m', 'sh', '-c', `${mount} && { "$@"; ${after}; }`, 'sh', ...words], {
        encoding: 'utf8',
      });
      expect(result.stderr).toContain('to the volume small: there is no room for it');
      expect(result.stdout).toBe(`${folder()}/small:\n_data\nvolume.json\n\n${folder()}/small/_data:\n`);
      expect(engine.containers()).toEqual([]);
    });

    test('in a user namespace the files are its own; an idmapped volume keeps the image’s owners', async () => {
      const look = 'stat -c %u:%g /data /data/file /data/sub /none; touch /none/new /data/new && stat -c %u /data/new';
      const mounts = ['-v', 'own:/data', '-v', 'new:/none'];
      const { code, stdout, stderr } = await engine.run('run', '--userns', 'auto', ...mounts, 'full', 'sh', '-c', look);
      expect({ code, stderr, stdout }).toEqual({ code: 0, stderr: '', stdout: '5:6\n12:34\n1000:1000\n0:0\n0\n' });
      const { uid } = statSync(data('new'));
      expect(uid).toBeGreaterThan(65535);
      expect(statSync(`${data('own')}/file`)).toMatchObject({ uid: uid + 12, gid: uid + 34 });
    });
  });

  test('a mount anywhere on the machine is no reason for a link with ".." to fail', async () => {
    const churn = 'mount --make-rprivate / && while :; do mount -t tmpfs none /mnt && umount /mnt; done';
    const busy = spawn('unshare', ['-m', 'sh', '-c', churn], { stdio: 'ignore' });
    try {
      for (let i = 0; i < 5; i++) {
        expect(await engine.run('run', '--rm', '-v', `up${i}:/up/etc`, 'full', 'ls', '/etc/passwd')).toMatchObject({
          ...{ code: 0, stdout: '/etc/passwd\n', stderr: '' },
        });
      }
    } finally {
      busy.kill('SIGKILL');
    }
  });

  describe('hostile and damaged', () => {
    test('a volume whose _data is a link is refused, and what it leads to is left alone', async () => {
      const outside = scratch(engine);
      writeFileSync(`${outside}/secret`, 'secret');
      await engine.must('volume', 'create', 'evil');
      rmSync(data('evil'), { recursive: true });
      symlinkSync(outside, data('evil'));
      await refused(
        ['run', '--rm', '-v', 'evil:/v', 'busybox', 'ls', '/v'],
        /the volume evil is damaged: its _data is gone, or no folder/,
      );
      await engine.must('volume', 'rm', 'evil');
      expect(readdirSync(outside)).toEqual(['secret']);
    });

    test('a volume whose folder vanished is told at the next start, and the container is as it was', async () => {
      await engine.must('create', '--name', 'left', '-v', 'lost:/v', 'busybox', 'true');
      rmSync(`${folder()}/lost`, { recursive: true });
      await refused(
        ['start', 'left'],
        /the volume lost is gone: somebody has removed .*\n.*tinyctr volume create lost/s,
        1,
      );
      await engine.must('volume', 'create', 'lost');
      expect(await engine.run('start', '-a', 'left')).toMatchObject({ code: 0 });
    });

    test('a record that can’t be read, a folder without one, a file among them', async () => {
      await engine.must('volume', 'create', '--label', 'a=b', 'damaged');
      writeFileSync(`${folder()}/damaged/volume.json`, '{"created":');
      mkdirSync(`${folder()}/bare/_data`, { recursive: true });
      writeFileSync(`${folder()}/file`, '');
      expect(await engine.must('volume', 'ls', '-q')).toBe('bare\ndamaged');
      expect(await json('volume', 'inspect', 'damaged')).toMatchObject([{ Name: 'damaged', Labels: null }]);
      expect(await engine.shell('touch /v/x', '-v', 'damaged:/v')).toMatchObject({ code: 0 });
      rmSync(`${folder()}/file`);
    });

    test('an image whose VOLUME leads out by links and ".." stays inside', async () => {
      const outside = scratch(engine);
      writeFileSync(`${outside}/secret`, 'secret');
      const rootfs = engine.rootfs();
      symlinkSync('/../../../../../..', `${rootfs}/up`);
      symlinkSync(outside, `${rootfs}/host`);
      mkdirSync(`${rootfs}${outside}`, { recursive: true });
      writeFileSync(`${rootfs}${outside}/decoy`, '');
      mkdirSync(`${rootfs}/data`);
      symlinkSync(`${outside}/secret`, `${rootfs}/data/link`);
      const layer = execFileSync('tar', ['-C', rootfs, '-c', '.'], { maxBuffer: 1 << 26 });
      const Volumes = { '/up/etc': {}, '/host': {}, '/data': {}, '/a/../../b': {} };
      const image = { layers: [layer], tags: ['evil:latest'], more: { config: { Volumes } } };
      writeFileSync(`${engine.folder}/evil.tar`, dockerArchive(image));
      await engine.must('load', '-i', `${engine.folder}/evil.tar`);
      const shown =
        'awk \'$5 ~ "^/(etc|b|data)$|scratch" { print $5 }\' /proc/self/mountinfo; readlink /data/link; ls /host';
      const { code, stdout, stderr } = await engine.run('run', '--name', 'evil', 'evil', 'sh', '-c', shown);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout.split('\n').sort()).toEqual(
        ['', '/b', '/data', '/etc', 'decoy', outside, `${outside}/secret`].sort(),
      );
      expect(readdirSync(outside)).toEqual(['secret']);
      expect(spawnSync('grep', ['-rl', '--', 'secret', folder()], { encoding: 'utf8' })).toMatchObject({ stdout: '' });
    });

    test.each([['/proc'], ['/proc/sys'], ['/link']])('an image’s VOLUME at %s is refused', async (place) => {
      const rootfs = engine.rootfs();
      symlinkSync('/proc/sys', `${rootfs}/link`);
      const layer = execFileSync('tar', ['-C', rootfs, '-c', '.'], { maxBuffer: 1 << 26 });
      const image = { layers: [layer], tags: ['proc:latest'], more: { config: { Volumes: { [place]: {} } } } };
      writeFileSync(`${engine.folder}/proc.tar`, dockerArchive(image));
      await engine.must('load', '-i', `${engine.folder}/proc.tar`);
      await refused(['run', '--rm', 'proc', 'echo', 'ran'], /refused/);
      expect(names()).toEqual([]);
    });
  });
});
