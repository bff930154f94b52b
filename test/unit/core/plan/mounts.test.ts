import { describe, expect, test } from 'vitest';
import * as k from '../../../../src/core/kernel/constants.ts';
import { parseMountOptions, planMount, propagationOf } from '../../../../src/core/plan/mounts.ts';
import type { Mount } from '../../../../src/core/spec/types.ts';

const bind = (options: string[] = [], changes: Partial<Mount> = {}) =>
  planMount({ destination: '/data', type: 'bind', source: '/srv', options: ['rbind', ...options], ...changes }, 3);
const tmpfs = (options: string[]) => planMount({ destination: '/t', type: 'tmpfs', source: 'tmpfs', options }, 0);
const refuses = (plan: () => unknown, message: string, specPointer: string) =>
  expect(plan).toThrow(expect.objectContaining({ message, specPointer }));

describe('options', () => {
  const nothing = { set: 0, clear: 0, attributesRecursive: false, propagation: 0, propagationRecursive: false };
  const atime = k.MOUNT_ATTR__ATIME;

  test.each<[string[], object]>([
    [[], {}],
    [['ro'], { set: k.MOUNT_ATTR_RDONLY }],
    [['rw'], { clear: k.MOUNT_ATTR_RDONLY }],
    [['ro', 'rw'], { clear: k.MOUNT_ATTR_RDONLY }],
    [['rw', 'ro'], { set: k.MOUNT_ATTR_RDONLY }],
    [['nosuid', 'nodev', 'noexec', 'nosymfollow'], { set: 2 | 4 | 8 | k.MOUNT_ATTR_NOSYMFOLLOW }],
    [['suid', 'dev', 'exec', 'symfollow'], { clear: 2 | 4 | 8 | k.MOUNT_ATTR_NOSYMFOLLOW }],
    [['noexec', 'exec', 'nosuid'], { set: k.MOUNT_ATTR_NOSUID, clear: k.MOUNT_ATTR_NOEXEC }],
    [['noatime'], { set: k.MOUNT_ATTR_NOATIME, clear: atime }],
    [['strictatime'], { set: k.MOUNT_ATTR_STRICTATIME, clear: atime }],
    [['relatime'], { set: k.MOUNT_ATTR_RELATIME, clear: atime }],
    [['noatime', 'strictatime'], { set: k.MOUNT_ATTR_STRICTATIME, clear: atime }],
    [['rro'], { set: k.MOUNT_ATTR_RDONLY, attributesRecursive: true }],
    [['rnosuid', 'ro'], { set: k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID, attributesRecursive: true }],
    [['private'], { propagation: k.MS_PRIVATE }],
    [['rslave'], { propagation: k.MS_SLAVE, propagationRecursive: true }],
    [['rshared', 'slave'], { propagation: k.MS_SLAVE }],
    [['runbindable'], { propagation: k.MS_UNBINDABLE, propagationRecursive: true }],
    [['defaults', 'bind', 'rbind', 'async', 'nolazytime'], {}],
    [
      ['size=64k', 'mode=1777', 'newinstance', 'x=a=b', 'y='],
      {
        parameters: [
          ['size', '64k'],
          ['mode', '1777'],
          ['newinstance', null],
          ['x', 'a=b'],
          ['y', ''],
        ],
      },
    ],
    [
      ['sync', 'lazytime'],
      {
        parameters: [
          ['sync', null],
          ['lazytime', null],
        ],
      },
    ],
    [
      ['constructor', 'rtoString', '__proto__'],
      {
        parameters: [
          ['constructor', null],
          ['rtoString', null],
          ['__proto__', null],
        ],
      },
    ],
  ])('%j', (options, parsed) => {
    expect(parseMountOptions(options)).toEqual({ ...nothing, parameters: [], ...parsed });
  });
});

describe('file systems', () => {
  test('get their attributes, and the rest as their own parameters', () => {
    expect(tmpfs(['nosuid', 'ro', 'size=64k', 'shared'])).toEqual({
      kind: 'filesystem',
      target: '/t',
      fstype: 'tmpfs',
      source: 'tmpfs',
      parameters: [['size', '64k']],
      attributes: k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_RDONLY,
      propagation: k.MS_SHARED,
      specPointer: '/mounts/0',
    });
  });

  test('cgroup means version 2', () => {
    expect(planMount({ destination: '/sys/fs/cgroup', type: 'cgroup' }, 0)).toMatchObject({
      fstype: 'cgroup2',
      source: 'none',
    });
  });

  test('a destination without a leading slash is below the root', () => {
    expect(planMount({ destination: 'proc', type: 'proc' }, 0).target).toBe('/proc');
  });

  test('one without a type is refused', () => {
    refuses(
      () => planMount({ destination: '/x', source: 'x' }, 2),
      'the mount on /x has no type and is no bind mount',
      '/mounts/2/type',
    );
  });
});

describe('bind mounts', () => {
  test('are recursive with rbind, and say what to change', () => {
    expect(bind(['ro', 'rslave'])).toEqual({
      kind: 'bind',
      target: '/data',
      source: '/srv',
      recursive: true,
      set: k.MOUNT_ATTR_RDONLY,
      clear: 0,
      attributesRecursive: false,
      propagation: k.MS_SLAVE,
      propagationRecursive: true,
      specPointer: '/mounts/3',
    });
  });

  test.each([
    [{ type: 'bind', options: ['ro'] }, false],
    [{ type: 'none', options: ['bind'] }, false],
    [{ type: 'none', options: ['rbind'] }, true],
  ])('%j is one', (changes, recursive) => {
    expect(bind([], changes)).toMatchObject({ kind: 'bind', recursive });
  });

  test.each(['size=1m', 'ownerr', 'constructor', 'nosuid=1'])('the option %s means nothing', (option) => {
    const message = `mount option "${option.split('=')[0]}" means nothing for a bind mount`;
    refuses(() => bind([option]), message, '/mounts/3/options');
  });

  test.each(['sync', 'dirsync', 'lazytime', 'silent'])(
    'the option %s is of the file system that is bound',
    (option) => {
      expect(bind([option])).toMatchObject({ kind: 'bind', set: 0 });
    },
  );

  test.each([undefined, '', 'srv', './srv'])('a source %j is not absolute', (source) => {
    const message = 'the source of the bind mount on /data must be an absolute path';
    refuses(() => bind([], { source: source as string }), message, '/mounts/3/source');
  });
});

describe('destinations', () => {
  test.each(['/a/../b', '..', '/..', '/a/..'])('%s is refused', (destination) => {
    refuses(() => bind([], { destination }), `the mount destination ${destination} contains ".."`, '/mounts/3');
  });

  test.each(['/a/..b', '/a..', '/...'])('%s is a name like another', (destination) => {
    expect(bind([], { destination }).target).toBe(destination);
  });

  test.each([
    '/proc',
    '/proc/',
    '//proc',
    '/proc/self',
    '/proc/sys/kernel',
    '/proc//1',
    '/proc/./self',
    '/./proc',
    'proc/self',
  ])('a bind on %s could redirect writes to /proc (SEC-07)', (destination) => {
    const target = `/${destination}`.replace(/\/(\.?\/)+/g, '/').replace(/\/$/, '');
    refuses(
      () => bind([], { destination }),
      `a bind mount on ${target} is refused: it could redirect what is written to /proc`,
      '/mounts/3',
    );
  });

  test.each(['/proc/cpuinfo', '/proc/meminfo', '/proc/net/dev', '/process', '/srv/proc'])(
    'a bind on %s is allowed',
    (destination) => {
      expect(bind([], { destination }).target).toBe(destination);
    },
  );
});

test('propagation of the root', () => {
  const flags = { private: k.MS_PRIVATE, slave: k.MS_SLAVE, shared: k.MS_SHARED, unbindable: k.MS_UNBINDABLE };
  for (const [name, flag] of Object.entries(flags))
    expect([propagationOf(name), propagationOf(`r${name}`)]).toEqual([flag, flag]);
  expect(propagationOf(undefined)).toBe(0);
  const message = 'rootfsPropagation is "none"; allowed are private, slave, shared, unbindable';
  refuses(() => propagationOf('none'), message, '/linux/rootfsPropagation');
  expect(() => propagationOf('rconstructor')).toThrow('rootfsPropagation is "rconstructor"');
});
