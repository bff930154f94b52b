/**
 * SEC-13: archives that try to reach the host. Each ends in an error or in exactly what is written here; the host stays
 * as it was. The host is a folder beside the root: every way out leads there or into the scratch folder, so that a mistake
 * in the unpacking harms no machine.
 */
import {
  closeSync,
  createReadStream,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { unpackLayer } from '../../../src/image/unpack/layer.ts';
import { removeTree } from '../../../src/image/unpack/remove-tree.ts';
import * as a from '../../support/archives.ts';
import { need, needs } from '../../support/need.ts';
import { Scratch, snapshot } from './snapshot.ts';

let scratch: Scratch;
let root: string;
let host: string;
let before: string;

/** The host: a folder beside the root, and the folder above both. */
const hostState = () => {
  const nodes = [...snapshot(scratch.path)].filter(
    ([name]) => name !== '' && name !== 'layer' && !name.startsWith('layer/'),
  );
  return JSON.stringify(nodes, (_, value) => (typeof value === 'bigint' ? String(value) : value));
};

beforeEach(() => {
  scratch = new Scratch();
  root = scratch.in('layer');
  host = scratch.in('host');
  mkdirSync(root);
  mkdirSync(`${host}/dir/sub`, { recursive: true });
  writeFileSync(`${host}/secret`, 'secret', { mode: 0o600 });
  writeFileSync(`${host}/dir/sub/file`, 'file');
  symlinkSync('secret', `${host}/link`);
  before = hostState();
});
afterEach(() => {
  const after = hostState();
  scratch.remove();
  expect(after).toBe(before);
});

const unpack = (...entries: a.RawEntry[]) => unpackLayer(a.inPieces(a.archive(...entries)), root);
/** Everything below the root by type, with what it holds. */
const tree = () =>
  Object.fromEntries(
    [...snapshot(root)]
      .filter(([name]) => name !== '')
      .map(([name, { type }]) => [
        name,
        type === 'file'
          ? readFileSync(`${root}/${name}`, 'utf8')
          : type === 'symboliclink'
            ? readlinkSync(`${root}/${name}`)
            : type,
      ]),
  );

describe('refused with an error', needs({ root: true }), () => {
  const long = 'd/'.repeat(10_000);
  test.each<[string, string, () => a.RawEntry[]]>([
    ["'..' in a name", "'..'", () => [a.file('../host/secret', 'evil')]],
    ["'..' in the middle", "'..'", () => [a.directory('d/'), a.file('d/../../host/secret', 'evil')]],
    ['a directory ..', "'..'", () => [a.directory('../host/', { mode: 0o777 })]],
    ["'..' in a hard link", "'..'", () => [a.hardLink('l', '../host/secret')]],
    ['a hard link to a host file', 'none', () => [a.hardLink('l', `${host}/secret`)]],
    [
      'a hard link through a chain of links up (a/b/c/up)',
      'none',
      () => [
        a.directory('a/b/c/'),
        a.symlink('a/b/c/up', '../../../../../../../../../..'),
        a.hardLink('l', `a/b/c/up${host}/secret`),
      ],
    ],
    ['a hard link through a link to the host', 'none', () => [a.symlink('h', host), a.hardLink('l', 'h/secret')]],
    [
      'a file through a link to a file',
      'something else',
      () => [a.file('f'), a.symlink('l', 'f'), a.file('l/x', 'evil')],
    ],
    ['a file through a link that leads nowhere', 'nowhere', () => [a.symlink('l', 'nowhere'), a.file('l/x', 'evil')]],
    ['a file through links in a circle', 'circle', () => [a.symlink('a', 'b'), a.symlink('b', 'a'), a.file('a/x')]],
    [
      'a file through /proc/self/root',
      'none',
      () => [a.symlink('p', '/proc/self/root'), a.hardLink('l', `p${host}/secret`)],
    ],
    ['a hard link to a directory', 'not permitted', () => [a.directory('d/'), a.hardLink('l', 'd')]],
    ['a hard link to the root', 'the root', () => [a.hardLink('l', '/')]],
    ['a hard link to a whiteout', 'does not have', () => [a.file('.wh.x'), a.hardLink('l', 'x')]],
    ['a file as the root', 'can only be a directory', () => [a.file('./', 'evil', { type: '1', linkname: 'x' })]],
    ['a whiteout of .', 'names no file', () => [a.file('.wh..')]],
    ['a whiteout of ..', 'names no file', () => [a.directory('d/'), a.file('d/.wh...')]],
    ['a whiteout of nothing', 'names no file', () => [a.file('.wh.')]],
    ['a file below a whiteout', 'as a directory', () => [a.file('.wh.x/y')]],
    ['a path 10,000 deep', 'at most 4095', () => [a.file('x', 'x', { pax: [['path', `${long}f`]] })]],
    ['a component of 300 bytes', 'name too long', () => [a.file('x', 'x', { pax: [['path', 'n'.repeat(300)]] })]],
    ['an owner of -1', 'its uid is 4294967295', () => [a.file('f', '', { pax: [['uid', '4294967295']] })]],
    [
      'a device that Linux cannot have',
      'no device 70000:0',
      () => [{ name: 'd', type: '3', devMajor: 70_000, devMinor: 0 }],
    ],
    [
      "overlayfs's own attributes",
      'overlayfs is steered',
      () => [a.directory('d/', { pax: [['SCHILY.xattr.trusted.overlay.redirect', '/etc']] })],
    ],
    ['a symbolic link to nothing', 'link to nothing', () => [a.symlink('l', '')]],
    ['a negative size', 'negative', () => [a.file('f', 'x', { sizeField: a.base256(-1n) })]],
  ])('%s', async (_, message, entries) => {
    await expect(unpack(...entries())).rejects.toThrow(message);
  });

  test('many bad names do not tire it: each one is an error of its own', async () => {
    for (const name of ['..', '/..', 'a/..', './..//x', '../host/dir/x', 'a/../../host/x'])
      await expect(unpack(a.file(name, 'evil'))).rejects.toThrow("'..'");
    expect(tree()).toEqual({});
  });
});

describe('contained', needs({ root: true }), () => {
  test('an absolute name is below the root', async () => {
    await unpack(a.file(`${host}/secret`, 'mine'));
    expect(readFileSync(`${root}${host}/secret`, 'utf8')).toBe('mine');
  });

  test('a link to the host, then a file of the same name: the link is replaced', async () => {
    await unpack(a.symlink('l', `${host}/secret`), a.file('l', 'mine'));
    expect(tree()).toEqual({ l: 'mine' });
  });

  test('a link to the host, then a directory of the same name, then files in it', async () => {
    await unpack(a.symlink('l', host), a.directory('l/', { mode: 0o777 }), a.file('l/secret', 'mine'));
    expect(tree()).toEqual({ l: 'directory', 'l/secret': 'mine' });
  });

  test('a link to the host, then a file through it: it goes where the link leads in the root', async () => {
    await unpack(a.directory(`${host.slice(1)}/`), a.symlink('l', host), a.file('l/secret', 'mine'));
    expect(readFileSync(`${root}${host}/secret`, 'utf8')).toBe('mine');
  });

  test('a link up and up stops at the root', async () => {
    await unpack(a.directory('a/b/c/'), a.symlink('a/b/c/up', '../../../..'), a.file('a/b/c/up/x', 'mine'));
    expect(tree()).toMatchObject({ x: 'mine' });
  });

  test('a directory is replaced by a link after files were written in it: what follows is written where the link leads', async () => {
    await unpack(
      a.directory('d/sub/'),
      a.file('d/sub/one', '1'),
      a.directory('e/sub/'),
      a.symlink('d', 'e'),
      a.file('d/sub/two', '2'),
    );
    expect(tree()).toEqual({ d: 'e', e: 'directory', 'e/sub': 'directory', 'e/sub/two': '2' });
    await expect(
      unpack(a.directory('f/'), a.file('f/1'), a.symlink('f', host), a.file('f/secret', 'evil')),
    ).rejects.toThrow();
  });

  test('an inner directory is replaced while a way to it through a link is still known', async () => {
    await unpack(
      a.directory('usr/lib/'),
      a.symlink('lib', 'usr/lib'),
      a.file('lib/one', '1'),
      a.file('usr', 'a file now'),
      a.directory('usr/lib/'),
      a.file('lib/two', '2'),
    ).catch(() => {});
    expect(existsSync(`${root}/usr/lib/one`)).toBe(false);
  });

  test('modes, owners and times of a link entry never reach its target', async () => {
    await unpack({ ...a.symlink('l', `${host}/secret`), mode: 0o4777, uid: 1000, mtime: 1 });
    expect(tree()).toEqual({ l: `${host}/secret` });
  });

  test('a hard link to a link to the host is one more link, and what is written over it replaces it', async () => {
    await unpack(a.symlink('s', `${host}/secret`), a.hardLink('h', 's'), a.file('h', 'mine'));
    expect(tree()).toEqual({ s: `${host}/secret`, h: 'mine' });
  });

  test('a whiteout of a link hides the link, not its target; one through a link stays in the root', async () => {
    await unpack(a.symlink('l', `${host}/secret`), a.file('.wh.l'), a.file('.wh.m'), a.symlink('m', host));
    expect(tree()).toEqual({ l: `${host}/secret`, m: host });
    await unpack(
      a.directory(`${host.slice(1)}/`),
      a.symlink('n', host),
      a.file('n/.wh.secret'),
      a.file('n/.wh..wh..opq'),
    );
    expect(snapshot(root).get(`${host.slice(1)}/secret`)?.type).toBe('characterdevice');
  });

  test('a device and a setuid program are made, below the root only', async () => {
    await unpack(
      { name: 'mem', type: '3', devMajor: 1, devMinor: 1 },
      a.file('su', '#!', { mode: 0o4755 }),
      a.file('mem', 'a file in its place'),
    );
    expect(tree()).toEqual({ mem: 'a file in its place', su: '#!' });
    expect(snapshot(root).get('su')?.mode).toBe('4755');
  });

  test('the same name a thousand times', async () => {
    await unpack(
      ...Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? a.file('x', String(i)) : a.symlink('x', host))),
    );
    expect(tree()).toEqual({ x: host });
  });

  test('a tree 2,000 deep can be made, replaced by a file, and removed', async () => {
    const deep = Array.from({ length: 2000 }, () => 'd').join('/');
    await unpack(a.file('x', 'x', { pax: [['path', `${deep}/f`]] }));
    expect(existsSync(`${root}/d/d/d/d/d`)).toBe(true);
    await unpack(a.file('d', 'flat'));
    expect(tree()).toEqual({ d: 'flat' });
    await unpack(a.directory('other/'), a.file('x', 'x', { pax: [['path', `other/${deep}/f`]] }));
    const fd = openSync(scratch.path, 'r');
    removeTree(fd, 'layer');
    removeTree(fd, 'layer');
    closeSync(fd);
    expect(existsSync(root)).toBe(false);
    mkdirSync(root);
  });

  test('removing a tree follows no link', async () => {
    await unpack(a.directory('d/'), a.symlink('d/l', host), a.symlink('d/m', '../../host/dir'));
    const fd = openSync(root, 'r');
    removeTree(fd, 'd');
    closeSync(fd);
    expect(tree()).toEqual({});
  });
});

describe('and what is meant well still works', needs({ root: true }), () => {
  const alpine = new URL('../../../../shared/data/alpine-minirootfs-3.20.3-x86_64.tar.gz', import.meta.url).pathname;

  test("Alpine's /bin/sh is a link to /bin/busybox", async (context) => {
    const reason = need({ file: alpine });
    context.skip(reason !== undefined, reason);
    await unpackLayer(createReadStream(alpine), root);
    expect(readlinkSync(`${root}/bin/sh`)).toBe('/bin/busybox');
    expect(snapshot(root).get('bin/busybox')).toMatchObject({ type: 'file', mode: '755' });
    expect(snapshot(root).get('tmp')?.mode).toBe('1777');
  });
});
