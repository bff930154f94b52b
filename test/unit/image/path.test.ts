import { describe, expect, test } from 'vitest';
import { cleanPath, isAufsOwn, splitPath, whiteoutOf } from '../../../src/image/unpack/path.ts';

describe('paths of entries', () => {
  test.each([
    ['a/b', 'a/b'],
    ['./a/b', 'a/b'],
    ['/etc/passwd', 'etc/passwd'],
    ['//a//b/', 'a/b'],
    ['a/./b/.', 'a/b'],
    ['.', ''],
    ['./', ''],
    ['/', ''],
    ['...', '...'],
    ['a/..b/c..', 'a/..b/c..'],
  ])('%j is %j below the root', (name, path) => {
    expect(cleanPath(name)).toBe(path);
  });

  test.each(['..', '../a', 'a/../b', 'a/..', '/..', './../a'])('%j is refused', (name) => {
    expect(() => cleanPath(name)).toThrow("'..'");
  });

  test('a path longer than PATH_MAX is refused', () => {
    expect(() => cleanPath('a/'.repeat(10_000))).toThrow('20000 bytes, where Linux allows at most 4095');
  });

  test('whiteouts', () => {
    expect(['x', '.wh.x', '.wh..wh..opq', '.wh', '.wh.a.wh.', '.wh.....'].map(whiteoutOf)).toEqual([
      undefined,
      'x',
      '',
      undefined,
      'a.wh.',
      '....',
    ]);
    for (const name of ['.wh.', '.wh..', '.wh...', '.wh..wh.x'])
      expect(() => whiteoutOf(name)).toThrow('names no file');
    expect(() => splitPath('a/.wh.b/c')).toThrow('as a directory');
  });

  test("aufs's own files are not whiteouts", () => {
    expect(['.wh..wh.plnk/1.2', '.wh..wh.aufs', '.wh..wh..opq', 'a/.wh..wh.aufs'].map(isAufsOwn)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});
