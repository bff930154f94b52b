import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, linkSync, lstatSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { rawSyscall, syscall } from '../../../src/core/host/syscall.ts';
import { limits } from '../../../src/image/limits.ts';
import { archiveDirectory } from '../../../src/image/tar/walk.ts';
import { unpackLayer } from '../../../src/image/unpack/layer.ts';
import { decompressZstd } from '../../../src/image/zstd.ts';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { Scratch, snapshot } from './snapshot.ts';

let scratch: Scratch;
let root: string;

beforeEach(() => {
  scratch = new Scratch();
  root = scratch.in('layer');
  mkdirSync(root);
});
afterEach(() => scratch.remove());

const unpack = (...entries: a.RawEntry[]) => unpackLayer(a.inPieces(a.archive(...entries)), root);
const at = (path: string) => snapshot(root).get(path);
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const opaque = { 'trusted.overlay.opaque': '79' };

/** The attributes of revision 2 with cap_net_raw permitted and effective. Source: linux/capability.h, struct vfs_cap_data. */
const capNetRaw = Buffer.from('0100000200200000000000000000000000000000', 'hex');

describe('what arrives', needs({ root: true }), () => {
  test('owners, modes, times to the nanosecond; directories get theirs last', async () => {
    await unpack(
      a.directory('./', { mode: 0o750, mtime: 1000, uid: 3 }),
      a.directory('d/', { mode: 0o1777, mtime: 2000, uid: 1, gid: 2 }),
      a.file('d/suid', 'x', { mode: 0o6755, uid: 5, gid: 6, mtime: 3000 }),
      a.file('d/fraction', '', { pax: [['mtime', '1600000000.123456789']] }),
      a.file('d/old', '', { pax: [['mtime', '-86400.5']] }),
      { ...a.symlink('d/link', '/bin/busybox'), uid: 7, gid: 8, mtime: 4000 },
      a.file('d/huge-ids', '', {
        pax: [
          ['uid', '4294967294'],
          ['gid', '2000000000'],
        ],
      }),
    );
    expect(at('')).toMatchObject({ mode: '750', owner: '3:0', mtimeNs: 1000_000_000_000n });
    expect(at('d')).toMatchObject({ mode: '1777', owner: '1:2', mtimeNs: 2000_000_000_000n });
    expect(at('d/suid')).toMatchObject({ mode: '6755', owner: '5:6', mtimeNs: 3000_000_000_000n });
    expect(at('d/fraction')?.mtimeNs).toBe(1_600_000_000_123_456_789n);
    expect(at('d/old')?.mtimeNs).toBe(-86_400_500_000_000n);
    expect(at('d/link')).toMatchObject({ content: '/bin/busybox', owner: '7:8', mtimeNs: 4000_000_000_000n });
    expect(at('d/huge-ids')?.owner).toBe('4294967294:2000000000');
  });

  test('the umask of the caller and a setgid directory change nothing', async () => {
    const before = process.umask(0o077);
    try {
      await unpack(
        a.directory('g/', { mode: 0o2777, gid: 50 }),
        a.directory('g/d/', { mode: 0o777 }),
        a.file('g/f', '', { mode: 0o666 }),
        a.file('g/implicit/f', ''),
        { name: 'g/p', type: '6', mode: 0o666 },
      );
    } finally {
      process.umask(before);
    }
    expect(['g', 'g/d', 'g/f', 'g/p'].map((path) => [at(path)?.mode, at(path)?.owner])).toEqual([
      ['2777', '0:50'],
      ['777', '0:0'],
      ['666', '0:0'],
      ['666', '0:0'],
    ]);
  });

  test('devices and FIFOs', async () => {
    await unpack(
      { name: 'null', type: '3', mode: 0o666, devMajor: 1, devMinor: 3 },
      { name: 'big', type: '4', mode: 0o660, gid: 6, devMajor: 259, devMinor: 70_000, magic: 'gnu' },
      { name: 'fifo', type: '6', mode: 0o622, uid: 9 },
    );
    expect(at('null')).toMatchObject({ type: 'characterdevice', mode: '666', rdev: 0x103 });
    const { rdev } = at('big')!;
    expect([(rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)]).toEqual([259, 70_000]);
    expect(at('fifo')).toMatchObject({ type: 'fifo', mode: '622', owner: '9:0' });
  });

  test('extended attributes: file capabilities, user attributes, on directories too', async () => {
    await unpack(
      a.file('ping', 'x', { uid: 5, mode: 0o755, pax: [['SCHILY.xattr.security.capability', capNetRaw]] }),
      a.directory('d/', { pax: [['SCHILY.xattr.user.note', 'a=b\nc']] }),
      a.file('selinux', '', { pax: [['SCHILY.xattr.security.selinux', 'system_u:object_r:evil_t:s0']] }),
      { ...a.symlink('l', 'x'), pax: [['SCHILY.xattr.trusted.mark', 'on the link']] },
    );
    expect(at('ping')?.xattrs).toEqual({ 'security.capability': capNetRaw.toString('hex') });
    expect(at('d')?.xattrs).toEqual({ 'user.note': Buffer.from('a=b\nc').toString('hex') });
    expect(at('selinux')?.xattrs).toEqual({});
    expect(at('l')?.xattrs).toEqual({ 'trusted.mark': Buffer.from('on the link').toString('hex') });
  });

  test('a sparse file takes no more room than its data', async () => {
    const pax = [
      ['GNU.sparse.size', '1000000000000'],
      ['GNU.sparse.map', '500000000000,512,1000000000000,0'],
    ] as const;
    const { size } = await unpack({ name: 'lastlog', data: 'L'.repeat(512), pax });
    const stat = statSync(`${root}/lastlog`);
    expect(stat.size).toBe(1_000_000_000_000);
    expect(stat.blocks * 512).toBeLessThan(100_000);
    expect(size).toBe(1_000_000_000_000);
  });

  test('very long names, names that are no UTF-8, names with newlines', async () => {
    const name = `${'d'.repeat(255)}/${'e'.repeat(255)}/${'f'.repeat(255)}`;
    const bytes = Buffer.from([0xff, 0x0a, 0x20, 0xc3]);
    await unpack(a.file('x', 'long', { pax: [['path', name]] }), { name: bytes, data: 'bytes' });
    expect(read(name)).toBe('long');
    expect(at(bytes.toString('latin1'))?.type).toBe('file');
  });

  test('hard links, also to a link, and to a file that is replaced later', async () => {
    await unpack(
      a.file('a', 'first'),
      a.hardLink('b', './a'),
      a.file('a', 'second'),
      a.symlink('s', 'nowhere'),
      a.hardLink('t', 's'),
      a.hardLink('b', 'b'),
    );
    expect([read('a'), read('b')]).toEqual(['second', 'first']);
    expect([at('a')?.nlink, at('b')?.nlink, at('s')?.nlink, at('t')?.content]).toEqual([1, 1, 2, 'nowhere']);
  });

  test('later entries replace earlier ones of every type; a directory stays when it comes again', async () => {
    await unpack(
      a.directory('dir/'),
      a.file('dir/kept', 'kept'),
      a.directory('dir/', { mode: 0o700, mtime: 5000 }),
      a.directory('tree/deep/er/'),
      a.file('tree/deep/er/f', 'x'),
      a.file('tree', 'now a file'),
      a.file('file', 'x'),
      a.directory('file/', { mode: 0o711 }),
      a.symlink('link', 'dir'),
      a.directory('link/'),
      a.file('link/f', 'in the new directory'),
      a.file('pipe', ''),
      { name: 'pipe', type: '6' },
    );
    expect([read('dir/kept'), read('tree'), read('link/f')]).toEqual(['kept', 'now a file', 'in the new directory']);
    expect(at('dir')).toMatchObject({ mode: '700', mtimeNs: 5000_000_000_000n, xattrs: {} });
    expect(at('dir/f')).toBeUndefined();
    expect(at('pipe')?.type).toBe('fifo');
    // What lower layers have at these places must not shine through.
    expect([at('file')?.xattrs, at('link')?.xattrs]).toEqual([opaque, opaque]);
  });

  test('entries below a link go where it leads, within the root', async () => {
    const elsewhere = scratch.in('elsewhere'); // a way out, were there one, would end in the scratch folder
    await unpack(
      a.directory(`${elsewhere}/lib/`, { mtime: 7000 }),
      a.symlink('lib', `${elsewhere}/lib`),
      a.file('lib/a', 'absolute'),
      a.directory('usr/'),
      a.symlink('up', '../usr'),
      a.file('up/b', 'clamped'),
    );
    expect([read(`${elsewhere}/lib/a`), read('usr/b')]).toEqual(['absolute', 'clamped']);
    expect(at(`${elsewhere.slice(1)}/lib`)?.mtimeNs).toBe(7000_000_000_000n);
  });

  test('directories that no entry names are made, and more directories than are kept open get their times', async () => {
    const many = Array.from({ length: 300 }, (_, i) => `many/${i}`);
    await unpack(
      ...many.map((name) => a.directory(`${name}/`, { mtime: 1000 })),
      ...many.map((name) => a.file(`${name}/f`, 'x')),
      a.file('not/named/f', 'x'),
    );
    expect(new Set(many.map((name) => at(name)!.mtimeNs))).toEqual(new Set([1000_000_000_000n]));
    expect(at('not/named')).toMatchObject({ type: 'directory', mode: '755', owner: '0:0' });
  });

  test('gzip, gzip in several members, and no compression give the same layer', async () => {
    const plain = a.archive(a.file('f', 'x'.repeat(5000)));
    const forms = [
      plain,
      gzipSync(plain),
      Buffer.concat([gzipSync(plain.subarray(0, 700)), gzipSync(plain.subarray(700))]),
    ];
    const ids: string[] = [];
    for (const [i, form] of forms.entries()) {
      mkdirSync(scratch.in(`form${i}`));
      const { diffId, blob } = await unpackLayer(a.inPieces(form, 3), scratch.in(`form${i}`));
      ids.push(diffId);
      expect(blob.size).toBe(form.length);
      expect(readFileSync(scratch.in(`form${i}`, 'f')).length).toBe(5000);
    }
    expect(new Set(ids).size).toBe(1);
  });
});

describe('whiteouts in the form of overlayfs', needs({ root: true }), () => {
  const whiteout = { type: 'characterdevice', rdev: 0 };

  test('a whiteout, an opaque directory, and the order of entries does not matter', async () => {
    await unpack(
      a.file('gone/.wh.file'),
      a.directory('opaque/', { mode: 0o700 }),
      a.file('opaque/before', 'b'),
      a.file('opaque/.wh..wh..opq'),
      a.file('opaque/after', 'a'),
      a.file('.wh.again'),
      a.file('again', 'new'),
      a.file('.wh.dir'),
      a.directory('dir/'),
      a.file('dir/f', 'f'),
      a.file('made', 'x'),
      a.file('.wh.made'),
      a.directory('kept/'),
      a.file('.wh.kept'),
      a.file('.wh.implied'),
      a.file('implied/f', 'x'),
    );
    expect(at('gone/file')).toMatchObject(whiteout);
    expect(at('opaque')).toMatchObject({ mode: '700', xattrs: opaque });
    expect([read('opaque/before'), read('opaque/after'), read('again'), read('made')]).toEqual(['b', 'a', 'new', 'x']);
    expect([at('dir')?.xattrs, at('kept')?.xattrs, at('implied')?.xattrs]).toEqual([opaque, opaque, opaque]);
    expect([...snapshot(root).keys()].filter((name) => name.includes('.wh.'))).toEqual([]);
  });

  test('the kernel shows two layers as the second one wants it', async (context) => {
    const lower = scratch.in('lower');
    mkdirSync(lower);
    const lowerEntries = ['keep', 'gone', 'opaque/old', 'dir/old', 'was-a-dir/f'].map((name) => a.file(name, 'lower'));
    await unpackLayer(a.inPieces(a.archive(...lowerEntries)), lower);
    await unpack(
      a.file('.wh.gone'),
      a.file('opaque/.wh..wh..opq'),
      a.file('opaque/new', 'upper'),
      a.directory('dir/'),
      a.file('dir/new', 'upper'),
      a.file('was-a-dir', 'upper'),
    );
    const merged = scratch.in('merged');
    mkdirSync(merged);
    const result = rawSyscall('mount', 'overlay', merged, 'overlay', 1, `lowerdir=${root}:${lower}`);
    context.skip(result < 0, `overlayfs can't be mounted here (errno ${-result})`);
    try {
      const files = [...snapshot(merged)].filter(([, node]) => node.type === 'file').map(([name]) => name);
      expect(files.sort()).toEqual(['dir/new', 'dir/old', 'keep', 'opaque/new', 'was-a-dir']);
    } finally {
      syscall('umount2', [merged, 0]);
    }
  });
});

/** A tree of everything, made by hand-written bytes and the machine's own programs. */
function makeTree(folder: string): void {
  mkdirSync(folder);
  execFileSync('sh', [
    '-ec',
    `
    cd "$1"
    mkdir -p a/b/c usr/bin dev setgid; chmod 2775 setgid; chmod 1777 a
    echo one > a/one; ln a/one a/b/two; ln -s ../one a/b/link; ln -s /usr/bin bin
    echo prog > usr/bin/prog; chown 12:34 usr/bin/prog; chmod 4755 usr/bin/prog
    mkfifo dev/pipe; mknod dev/null c 1 3; mknod dev/disk b 8 1; ln dev/pipe dev/pipe2
    truncate -s 5M a/sparse; echo tail >> a/sparse
    touch "a/$(printf 'n%.0s' $(seq 200))" "a/new
line" "a/$(printf '\\303\\244\\377')"
    touch -d @1234567890.123456789 a/one a/b; touch -h -d @1000 a/b/link
    `,
    'sh',
    folder,
  ]);
  writeFileSync(`${folder}/usr/bin/ping`, 'ping');
  syscall('setxattr', [`${folder}/usr/bin/ping`, 'security.capability', capNetRaw, capNetRaw.length, 0]);
  syscall('setxattr', [`${folder}/a`, 'user.note', Buffer.from('x'), 1, 0]);
}

describe('against GNU tar', needs({ root: true, command: 'tar' }), () => {
  test.each([['--format=gnu'], ['--format=pax', '--xattrs', '--xattrs-include=*'], ['--format=pax', '--xattrs', '-S']])(
    'what `tar -c %s` writes, we unpack as tar does',
    async (...format) => {
      makeTree(scratch.in('tree'));
      execFileSync('tar', ['-C', scratch.in('tree'), '-cf', scratch.in('tar'), ...format, '.']);
      mkdirSync(scratch.in('theirs'));
      execFileSync('tar', [
        '-C',
        scratch.in('theirs'),
        '-xpf',
        scratch.in('tar'),
        '--numeric-owner',
        '--xattrs',
        '--xattrs-include=*',
      ]);
      await unpackLayer(createReadStream(scratch.in('tar')), root);
      expect(snapshot(root)).toEqual(snapshot(scratch.in('theirs')));
      if (format.includes('--xattrs')) expect(at('usr/bin/ping')?.xattrs).toHaveProperty('security.capability');
    },
  );

  test('a directory becomes an archive that tar and we unpack to the same tree', async () => {
    makeTree(scratch.in('tree'));
    const pieces: Buffer[] = [];
    for await (const piece of archiveDirectory(scratch.in('tree'))) pieces.push(piece);
    writeFileSync(scratch.in('tar'), Buffer.concat(pieces));
    mkdirSync(scratch.in('theirs'));
    execFileSync('tar', [
      '-C',
      scratch.in('theirs'),
      '-xpf',
      scratch.in('tar'),
      '--numeric-owner',
      '--xattrs',
      '--xattrs-include=*',
    ]);
    await unpackLayer(createReadStream(scratch.in('tar')), root);
    const expected = snapshot(scratch.in('tree'));
    expect(snapshot(root)).toEqual(expected);
    expect(snapshot(scratch.in('theirs'))).toEqual(expected);
    expect(lstatSync(`${root}/a/sparse`).blocks * 512).toBeLessThan(1_000_000);
  });
});

test('a hard link across the directories of an imported tree stays one', needs({ root: true }), async () => {
  mkdirSync(scratch.in('tree/x'), { recursive: true });
  writeFileSync(scratch.in('tree/b'), 'shared');
  linkSync(scratch.in('tree/b'), scratch.in('tree/x/a'));
  await unpackLayer(archiveDirectory(scratch.in('tree')), root);
  expect(statSync(`${root}/b`).ino).toBe(statSync(`${root}/x/a`).ino);
});

describe('limits (SEC-18)', needs({ root: true }), () => {
  const few = { ...limits, entries: 10, unpackedBytes: 1_000_000, ratio: 20, ratioFreeBytes: 100_000 };
  const unpackBytes = (bytes: Buffer) => unpackLayer(a.inPieces(bytes), root, few);

  test.each([
    ['a bomb of zeros', gzipSync(a.archive(a.file('zeros', '\0'.repeat(600_000)))), 'more than 20 times its size'],
    ['too much even without compression', a.archive(a.file('f', 'x'.repeat(1_100_000))), 'more than 1000000 bytes'],
    ['too many entries', a.archive(...Array.from({ length: 11 }, (_, i) => a.file(`${i}`))), 'more than 10 entries'],
    ['gzip cut short', gzipSync(a.archive(a.file('f', 'data'))).subarray(0, 60), 'truncated'],
    ['gzip damaged', Buffer.concat([Buffer.from('1f8b0800000000000003', 'hex'), Buffer.alloc(100, 0xff)]), 'damaged'],
    ['xz', Buffer.from('fd377a585a0000', 'hex'), 'compressed with xz, which is not among gzip and zstd'],
    ['bzip2', Buffer.from('BZh91AY'), 'bzip2'],
  ])('%s is refused', async (_, bytes, message) => {
    await expect(unpackBytes(bytes)).rejects.toThrow(message);
  });

  describe('zstd', needs({ command: 'zstd' }), () => {
    const content = Buffer.concat([
      randomBytes(300_000),
      Buffer.alloc(3_000_000, 'text of all sorts, '),
      randomBytes(99),
    ]);
    const unpackAll = (bytes: Buffer) => unpackLayer(a.inPieces(bytes, 65536), root);
    const tar = () => a.archive({ name: 'f', data: content });
    const zstd = (bytes: Buffer, ...options: string[]) =>
      execFileSync('zstd', ['-q', '-c', ...options], { input: bytes, maxBuffer: 2 ** 26 });

    test.each([['-1'], ['-3', '--no-check'], ['-19'], ['-3', '--long=25'], ['--fast=5']])(
      '%s %s',
      async (...options) => {
        const { diffId, compression } = await unpackAll(zstd(tar(), ...options.filter(Boolean)));
        expect(readFileSync(`${root}/f`).equals(content)).toBe(true);
        expect(diffId).toBe(`sha256:${createHash('sha256').update(tar()).digest('hex')}`);
        expect(compression).toBe('zstd');
      },
    );

    test('many frames, and some for others, as zstd:chunked has them', async () => {
      const skippable = Buffer.concat([Buffer.from('5e2a4d1805000000', 'hex'), Buffer.from('other')]);
      const bytes = tar();
      const pieces = [0, 1, 700, 200_000, 3_000_000].map((at, i, all) => bytes.subarray(at, all[i + 1]));
      await unpackAll(Buffer.concat([...pieces.flatMap((piece) => [zstd(piece), skippable])]));
      expect(readFileSync(`${root}/f`).equals(content)).toBe(true);
    });

    test('a window that takes too much memory is refused', async () => {
      const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (26 - 10) << 3]);
      await expect(unpackAll(Buffer.concat([header, Buffer.alloc(100)]))).rejects.toThrow(
        'a window of 67108864 bytes, where at most 33554432 are allowed',
      );
    });

    test('cut short and damaged', async () => {
      const bytes = zstd(tar());
      for (const at of [3, 5, 20, 1000, bytes.length - 1])
        await expect(unpackAll(bytes.subarray(0, at))).rejects.toThrow(/truncated|too early|not a tar archive/);
      const bad = Buffer.from(bytes);
      bad.fill(0xff, 6, 9);
      await expect(unpackAll(bad)).rejects.toThrow('damaged');
    });

    test('blocks so small that several come before the decoder begins', async () => {
      const block = (text: string, size: number, last: number) => {
        const bytes = Buffer.alloc(4, text);
        bytes.writeUIntLE((size << 3) | (1 << 1) | last, 0, 3);
        return bytes;
      };
      const letters = 'abcdefgh'.split('');
      const frame = [
        Buffer.from('28b52ffd0050', 'hex'),
        ...letters.map((letter, i) => block(letter, i + 1, i === 7 ? 1 : 0)),
      ];
      const out: Uint8Array[] = [];
      for await (const chunk of decompressZstd(a.inPieces(Buffer.concat(frame), 5))) out.push(chunk);
      expect(Buffer.concat(out).toString()).toBe(letters.map((letter, i) => letter.repeat(i + 1)).join(''));
    });

    test('blocks of four bytes that stand for 128 kB each', async () => {
      const block = Buffer.alloc(4);
      block.writeUIntLE((131072 << 3) | (1 << 1), 0, 3);
      const bomb = Buffer.concat([Buffer.from('28b52ffd0050', 'hex'), ...Array.from({ length: 3000 }, () => block)]);
      const before = process.resourceUsage().maxRSS;
      await unpackAll(Buffer.concat([bomb, Buffer.from([1, 0, 0])])); // 400 MB of zeros: the end of an archive
      expect(process.resourceUsage().maxRSS - before).toBeLessThan(150 * 1024);
    });
  });

  test('a layer of 400 MB is unpacked in little memory', async () => {
    async function* large() {
      yield a.header({ name: 'large', size: 400 * 2 ** 20 });
      for (let i = 0; i < 400; i++) yield Buffer.alloc(2 ** 20, i);
      yield a.end;
    }
    global.gc?.();
    const before = process.memoryUsage().rss;
    let peak = 0;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 20);
    await unpackLayer(large(), root);
    clearInterval(watch);
    expect(statSync(`${root}/large`).size).toBe(400 * 2 ** 20);
    expect(peak - before).toBeLessThan(150 * 2 ** 20);
  });
});
