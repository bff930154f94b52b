import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { limits } from '../../../src/image/limits.ts';
import { encodeHeader, endOfArchive, paddingOf } from '../../../src/image/tar/encode.ts';
import type { Entry } from '../../../src/image/tar/entry.ts';
import { Feed } from '../../../src/image/tar/feed.ts';
import { ArchiveError } from '../../../src/image/tar/header.ts';
import { readArchive } from '../../../src/image/tar/reader.ts';
import * as a from '../../support/archives.ts';

interface Read extends Entry {
  content: Buffer;
}

/** Reads an archive that comes in pieces; a sparse file's content has its holes as zeros. */
function read(archive: Buffer, pieces = 100_000, changed: Partial<typeof limits> = {}): Read[] {
  const entries: Read[] = [];
  const sink = {
    begin: (entry: Entry) => void entries.push({ ...entry, content: Buffer.alloc(entry.size) }),
    data: (chunk: Buffer, position: number) => void chunk.copy(entries.at(-1)!.content, position),
    end: () => {},
  };
  const feed = new Feed(readArchive(sink, { ...limits, ...changed }));
  for (let at = 0; at < archive.length; at += pieces) feed.write(archive.subarray(at, at + pieces));
  feed.end();
  return entries;
}

const only = (archive: Buffer): Read => {
  const entries = read(archive);
  expect(entries).toHaveLength(1);
  return entries[0]!;
};

describe('entries', () => {
  test.each([1, 511, 512, 513, 100_000])('arrive whole when the bytes come in pieces of %i', (pieces) => {
    const archive = a.archive(a.directory('d/'), a.file('d/f', 'x'.repeat(1000)), a.symlink('l', 'd/f'), a.file('e'));
    expect(read(archive, pieces).map(({ name, type, content }) => [name, type, content.length])).toEqual([
      ['d/', 'directory', 0],
      ['d/f', 'file', 1000],
      ['l', 'symlink', 0],
      ['e', 'file', 0],
    ]);
  });

  test('names are bytes: what is no UTF-8 stays as it is', () => {
    const name = Buffer.from([0x66, 0xff, 0xfe, 0x6f]);
    expect(Buffer.from(only(a.archive({ name })).name, 'latin1')).toEqual(name);
    const long = Buffer.concat([Buffer.from('d/'), Buffer.alloc(300, 0xe9)]);
    expect(Buffer.from(only(a.archive({ name: 'x', pax: [['path', long]] })).name, 'latin1')).toEqual(long);
  });

  test('a ustar prefix goes before the name, and GNU has something else in its place', () => {
    const patch = (block: Buffer) => void block.write('some/where', 345);
    expect(only(a.archive(a.file('f', '', { patch }))).name).toBe('some/where/f');
    expect(only(a.archive(a.file('f', '', { patch, magic: 'gnu' }))).name).toBe('f');
  });

  test('GNU long names and long link targets', () => {
    const [name, target] = ['n'.repeat(3000), 't'.repeat(2000)];
    const archive = a.archive(
      { name: '././@LongLink', type: 'K', data: `${target}\0` },
      { name: '././@LongLink', type: 'L', data: `${name}\0` },
      { name: 'cut', type: '2', linkname: 'off', magic: 'gnu' },
    );
    expect(only(archive)).toMatchObject({ name, linkname: target, type: 'symlink' });
  });

  test('pax records: owner, time with a fraction and before 1970, size, attributes with any bytes', () => {
    const value = Buffer.from([1, 0, 10, 0xff, 61]);
    const pax = [
      ['uid', '3000000000'],
      ['gid', '7'],
      ['mtime', '-1.25'],
      ['SCHILY.xattr.security.capability', value],
      ['comment', 'nothing'],
    ] as const;
    expect(only(a.archive(a.file('f', 'abc', { pax })))).toMatchObject({
      uid: 3_000_000_000,
      gid: 7,
      mtimeNs: -1_250_000_000n,
      xattrs: new Map([['security.capability', value]]),
    });
  });

  test('a global pax header holds for all that follows, and an own record goes before it', () => {
    const records = Buffer.concat([a.paxRecord('uid', '5'), a.paxRecord('comment', 'a commit')]);
    const archive = a.archive(
      { name: 'g', type: 'g', data: records },
      a.file('f'),
      a.file('h', '', { pax: [['uid', '6']] }),
    );
    expect(read(archive).map(({ uid }) => uid)).toEqual([5, 6]);
  });

  test('devices in both formats', () => {
    for (const magic of ['ustar', 'gnu'] as const)
      expect(only(a.archive({ name: 'd', type: '3', devMajor: 10, devMinor: 229, magic }))).toMatchObject({
        type: 'char',
        devMajor: 10,
        devMinor: 229,
      });
  });

  test('what only has a header has no data, whatever its size says', () => {
    const archive = a.archive(
      { name: 'd/', type: '5', size: 4096 },
      { name: 'l', type: '1', linkname: 'f', size: 9 },
      a.file('f', 'x'),
    );
    expect(read(archive).map(({ name, size }) => [name, size])).toEqual([
      ['d/', 0],
      ['l', 0],
      ['f', 1],
    ]);
  });

  test('a size in base 256', () => {
    const archive = a.archive(a.file('f', 'abc', { sizeField: a.base256(3n) }));
    expect(only(archive).content.toString()).toBe('abc');
  });

  test('a file whose name ends in a slash is a directory, as before ustar', () => {
    expect(only(a.archive({ name: 'd/', type: '\0', magic: 'v7' })).type).toBe('directory');
  });

  test('an archive may end without its two blocks of zeros', () => {
    expect(read(a.entry(a.file('f', 'x')))).toHaveLength(1);
  });

  test('what follows the end is passed over', () => {
    expect(read(Buffer.concat([a.archive(a.file('f')), a.archive(a.file('g'))]))).toHaveLength(1);
  });
});

describe('sparse files', () => {
  const content = Buffer.concat([
    Buffer.alloc(1024),
    Buffer.from('A'.repeat(512)),
    Buffer.alloc(2048),
    Buffer.from('B'.repeat(100)),
  ]);
  const stored = Buffer.concat([content.subarray(1024, 1536), content.subarray(3584)]);
  const extents = [
    { offset: 1024, length: 512 },
    { offset: 3584, length: 100 },
  ];

  test('format 0.0: pairs of records', () => {
    const pax = [
      ['GNU.sparse.size', '3684'],
      ['GNU.sparse.numblocks', '2'],
      ['GNU.sparse.offset', '1024'],
      ['GNU.sparse.numbytes', '512'],
      ['GNU.sparse.offset', '3584'],
      ['GNU.sparse.numbytes', '100'],
    ] as const;
    expect(only(a.archive({ name: 's', data: stored, pax }))).toMatchObject({
      name: 's',
      size: 3684,
      extents,
      content,
    });
  });

  test('format 0.1: one record, and the name in another', () => {
    const pax = [
      ['GNU.sparse.size', '3684'],
      ['GNU.sparse.map', '1024,512,3584,100'],
      ['GNU.sparse.name', 'real'],
    ] as const;
    expect(only(a.archive({ name: 'GNUSparseFile.1/s', data: stored, pax }))).toMatchObject({
      name: 'real',
      extents,
      content,
    });
  });

  test('format 1.0: the map before the data', () => {
    const map = Buffer.alloc(512);
    map.write('2\n1024\n512\n3584\n100\n');
    const pax = [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', 'real'],
      ['GNU.sparse.realsize', '3684'],
    ] as const;
    const archive = a.archive({ name: 'x', data: Buffer.concat([map, stored]), pax });
    expect(only(archive)).toMatchObject({ name: 'real', extents, content });
  });

  test('the old GNU format, with a map that goes on in the next block', () => {
    const runs = Array.from({ length: 6 }, (_, i) => ({ offset: i * 1024, length: 512 }));
    const slot = (block: Buffer, at: number, { offset, length }: { offset: number; length: number }) => {
      block.write(`${offset.toString(8).padStart(11, '0')}\0${length.toString(8).padStart(11, '0')}\0`, at);
    };
    const patch = (block: Buffer) => {
      for (const [i, run] of runs.slice(0, 4).entries()) slot(block, 386 + 24 * i, run);
      block[482] = 1;
      block.write(`${(6144).toString(8).padStart(11, '0')}\0`, 483);
    };
    const more = Buffer.alloc(512);
    for (const [i, run] of runs.slice(4).entries()) slot(more, 24 * i, run);
    const head = a.header({ name: 's', type: 'S', magic: 'gnu', size: 3072, patch });
    const archive = Buffer.concat([head, more, Buffer.alloc(3072, 'S'), a.end]);
    const entry = only(archive);
    expect(entry).toMatchObject({ type: 'file', size: 6144, extents: runs });
    expect(entry.content.subarray(5120, 5632).toString()).toBe('S'.repeat(512));
    expect(entry.content.subarray(5632).every((byte) => byte === 0)).toBe(true);
  });

  test.each(['--format=gnu', '--format=pax --sparse-version=0.0', '--format=pax --sparse-version=0.1', '--format=pax'])(
    'as GNU tar writes them: %s',
    (format) => {
      const folder = mkdtempSync(join(tmpdir(), 'tinyctr-sparse-'));
      try {
        const path = join(folder, 'sparse');
        writeFileSync(path, 'start');
        truncateSync(path, 3_000_000);
        const fd = openSync(path, 'r+');
        for (let at = 1; at <= 9; at++) writeSync(fd, `run ${at}`, 300_000 * at);
        closeSync(fd);
        const archive = execFileSync('tar', ['-C', folder, '-cS', ...format.split(' '), 'sparse']);
        expect(archive.length).toBeLessThan(1_000_000);
        const entry = only(archive);
        expect(entry.size).toBe(3_000_000);
        expect(entry.content.toString('latin1', 0, 5)).toBe('start');
        expect(entry.content.toString('latin1', 2_700_000, 2_700_005)).toBe('run 9');
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  test.each([
    ['0,10,5,10', 'contradicts'],
    ['0,9000', 'contradicts'],
    ['0,10', '10 bytes, but 612'],
    ['0,10,20', 'odd'],
    ['0,-1', 'not a whole number'],
  ])('a map that lies is refused: %s', (map, message) => {
    const pax = [
      ['GNU.sparse.size', '3684'],
      ['GNU.sparse.map', map],
    ] as const;
    expect(() => read(a.archive({ name: 's', data: stored, pax }))).toThrow(message);
  });
});

describe('damaged and hostile archives', () => {
  const broken = (archive: Buffer, message: RegExp | string) => {
    expect(() => read(archive)).toThrow(ArchiveError);
    expect(() => read(archive)).toThrow(message);
  };

  test('a wrong checksum', () =>
    broken(a.archive(a.file('f', '', { patchAfterChecksum: (block) => void block.write('g') })), 'checksum'));
  test('no archive at all', () => broken(Buffer.alloc(2048, 'no tar'), 'checksum'));
  test('cut in a header', () => broken(a.archive(a.file('f')).subarray(0, 300), 'truncated'));
  test('cut in the data', () => broken(a.entry(a.file('f', 'x'.repeat(600))).subarray(0, 700), 'truncated'));
  test('cut in the padding', () => broken(a.entry(a.file('f', 'x')).subarray(0, 600), 'truncated'));
  test('cut in a pax header', () =>
    broken(a.entry(a.file('f', '', { pax: [['uid', '1']] })).subarray(0, 520), 'truncated'));
  test('a negative size', () => broken(a.archive(a.file('f', '', { sizeField: a.base256(-512n) })), 'negative'));
  test('a size beyond all bounds', () =>
    broken(a.archive(a.file('f', '', { sizeField: a.base256(2n ** 80n) })), 'safe integer'));
  test('a size that is no number', () =>
    broken(a.archive(a.file('f', '', { sizeField: Buffer.from('12345678 9z\0') })), 'octal'));
  test('a negative size in pax', () => broken(a.archive(a.file('f', '', { pax: [['size', '-1']] })), 'size'));
  test('a huge pax header', () =>
    broken(a.archive({ name: 'p', type: 'x', size: limits.headerBytes + 1 }), /at most 1048576/));
  test('a huge long name', () => broken(a.archive({ name: 'p', type: 'L', size: 2 ** 32 }), /at most 1048576/));
  test('a pax record longer than its header', () =>
    broken(a.archive({ name: 'p', type: 'x', data: '99 path=f\n' }), 'damaged record'));
  test('a pax record of length 0', () =>
    broken(a.archive({ name: 'p', type: 'x', data: '0 path=f\n' }), 'damaged record'));
  test('a NUL in a name', () => broken(a.archive(a.file('f', '', { pax: [['path', 'a\0b']] })), 'NUL'));
  test('an entry without a name', () => broken(a.archive(a.file('')), 'no name'));
  test('a type that no image can have', () => broken(a.archive({ name: 'm', type: 'M' }), 'type "M"'));
  test('a global name', () =>
    broken(a.archive({ name: 'g', type: 'g', data: a.paxRecord('path', 'x') }), 'for every file'));
  test('one block of zeros in the middle', () =>
    broken(Buffer.concat([Buffer.alloc(512), a.archive(a.file('f'))]), 'two blocks of zeros'));
  test('more entries than allowed', () => {
    const many = a.archive(...Array.from({ length: 4 }, (_, i) => a.file(`f${i}`)));
    expect(() => read(many, 512, { entries: 3 })).toThrow('more than 3 entries');
  });

  test('many pax headers before one entry do not pile up: the last one counts', () => {
    const headers = Array.from({ length: 50 }, (_, i) => ({
      name: 'p',
      type: 'x',
      data: a.paxRecord('uid', String(i)),
    }));
    expect(only(a.archive(...headers, a.file('f'))).uid).toBe(49);
  });

  test('any bytes end in entries or in an ArchiveError, never otherwise', () => {
    const whole = a.archive(
      a.directory('d/'),
      a.file('d/f', 'data', {
        pax: [
          ['mtime', '1.5'],
          ['GNU.sparse.map', '0,4'],
          ['GNU.sparse.size', '4'],
        ],
      }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.boolean(),
        (changes, repair) => {
          const damaged = Buffer.from(whole);
          for (const [at, byte] of changes) damaged[at] = byte;
          if (repair) for (const at of [0, 512, 1536]) a.setChecksum(damaged.subarray(at, at + 512));
          try {
            read(damaged);
          } catch (error) {
            if (!(error instanceof ArchiveError)) throw error;
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

test('what is encoded is read again', () => {
  const name = fc
    .uint8Array({ minLength: 1, maxLength: 300 })
    .map((b) => Buffer.from(b).toString('latin1').replaceAll(/[\0/]/g, 'x'));
  const made = fc.record({
    type: fc.constantFrom('symlink', 'directory', 'fifo', 'char', 'link') as fc.Arbitrary<Entry['type']>,
    name,
    linkname: name,
    mode: fc.nat(0o7777),
    uid: fc.nat(0xffff_fffe),
    gid: fc.nat(0xffff_fffe),
    mtimeNs: fc.bigInt({ min: -(10n ** 18n), max: 10n ** 20n }),
    devMajor: fc.nat(4095),
    devMinor: fc.nat(0xfffff),
    size: fc.constant(0),
    xattrs: fc.uint8Array({ maxLength: 50 }).map((value) => new Map([['user.any', Buffer.from(value)]])),
  });
  fc.assert(
    fc.property(made, (entry) => {
      const { content, ...back } = only(Buffer.concat([encodeHeader(entry), endOfArchive]));
      expect(back).toEqual(entry);
    }),
  );
});

test('an encoded sparse file is read again, also by GNU tar', () => {
  const extents = [
    { offset: 4096, length: 512 },
    { offset: 9000, length: 2 },
  ];
  const entry: Entry = { ...read(a.archive(a.file('sparse')))[0]!, size: 10_000, extents, xattrs: new Map() };
  const archive = Buffer.concat([
    encodeHeader(entry),
    Buffer.from('abc'.padEnd(512, 'x')),
    Buffer.from('de'),
    paddingOf(514),
    endOfArchive,
  ]);
  expect(only(archive)).toMatchObject({ name: 'sparse', size: 10_000, extents });
  const folder = mkdtempSync(join(tmpdir(), 'tinyctr-sparse-'));
  try {
    execFileSync('tar', ['-C', folder, '-xf', '-'], { input: archive });
    const content = readFileSync(join(folder, 'sparse'), 'latin1');
    expect([content.length, content.slice(4096, 4099), content.slice(9000, 9002)]).toEqual([10_000, 'abc', 'de']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
