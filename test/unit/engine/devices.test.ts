import { describe, expect, it } from 'vitest';
import type { RunOptions } from '../../../src/engine/options.ts';
import { device, fakeHost, problemOf, specOf } from './support.ts';

const host = fakeHost({
  devices: {
    '/dev/fuse': [device('/dev/fuse')],
    '/dev/snd': [device('/dev/snd/timer'), device('/dev/snd/by-id/x', { minor: 1 })],
    '/etc': [],
    '/dev': [
      device('/dev/fuse'),
      device('/dev/sda', { type: 'b', major: 8, minor: 0, fileMode: 0o60660 }),
      ...['null', 'tty', 'ptmx', 'console', 'pts/0', 'shm/x', 'mqueue/y'].map((name) => device(`/dev/${name}`)),
      device('/dev/tty1'),
      device('/dev/initctl', { type: 'p' }),
    ],
  },
});
const rulesOf = (options: Partial<RunOptions>) => specOf(options, { host }).spec.linux!.resources!.devices!;
const devicesOf = (options: Partial<RunOptions>) => specOf(options, { host }).spec.linux?.devices;

describe('--device', () => {
  it.each([
    ['/dev/fuse', '/dev/fuse'],
    ['/dev/fuse:/dev/x', '/dev/x'],
    ['/dev/fuse:rwm', '/dev/fuse'],
    ['/dev/fuse:/dev/x:mrw', '/dev/x'],
    ['/dev/fuse:r', '/dev/fuse'],
    ['/dev/../dev/fuse', '/dev/fuse'],
  ])('reads %s', (text, path) => {
    expect(devicesOf({ device: [text] })).toEqual([
      { path, type: 'c', major: 10, minor: 229, fileMode: 0o660, uid: 0, gid: 6 },
    ]);
  });

  it('takes a directory for all devices below it', () => {
    const paths = devicesOf({ device: ['/dev/snd:/dev/sound'] })?.map(({ path }) => path);
    expect(paths).toEqual(['/dev/sound/timer', '/dev/sound/by-id/x']);
  });

  it.each([
    ['', 'no part empty'],
    ['/dev/fuse:', 'no part empty'],
    ['/dev/fuse:/a:rwm:x', 'is not host'],
    ['fuse', 'not an absolute path of the host'],
    ['vendor.com/gpu=all', 'not an absolute path of the host'],
    ['/dev/fuse:x', "'x' is not an absolute path"],
    ['/dev/fuse:/x:rwx', "'rwx' is not made of"],
    ['/dev/fuse:/x:rr', "'rr' is not made of"],
    ['/dev/gone', "can't be read: ENOENT"],
    ['/etc', 'is no device, and has none below it'],
  ])('refuses %s', (text, reason) => {
    expect(problemOf(() => devicesOf({ device: [text] }))).toContain(reason);
  });
});

describe('devices', () => {
  it('are none by default', () => {
    expect(devicesOf({})).toEqual([]);
  });

  it("are the host's with --privileged, but for those every container has of its own", () => {
    const found = devicesOf({ privileged: true, device: ['/dev/fuse:/dev/other'] });
    expect(found?.map(({ path }) => path)).toEqual(['/dev/fuse', '/dev/sda', '/dev/tty1', '/dev/other']);
    expect(found?.[1]).toMatchObject({ type: 'b', major: 8, minor: 0, fileMode: 0o660 });
  });

  it('have one node per path, the last one asked for', () => {
    const found = devicesOf({ device: ['/dev/fuse:/dev/x', '/dev/snd:/dev', '/dev/fuse:/dev/timer'] });
    expect(found?.map(({ path, minor }) => [path, minor])).toEqual([
      ['/dev/x', 229],
      ['/dev/timer', 229],
      ['/dev/by-id/x', 1],
    ]);
  });
});

describe('device rules', () => {
  const byDefault = [{ allow: false, access: 'rwm' }];
  const fuse = { allow: true, type: 'c', major: 10, minor: 229 };

  it("allow the container's own devices, and any node to be made", () => {
    expect(rulesOf({})).toEqual(byDefault);
    expect(rulesOf({ capAdd: ['ALL'] })).toEqual(byDefault);
  });

  it('allow each --device the access asked for, or all', () => {
    const rules = rulesOf({ device: ['/dev/fuse:/dev/x', '/dev/fuse:r', '/dev/snd:/dev/snd:rw'] });
    expect(rules.slice(byDefault.length)).toEqual([
      { ...fuse, access: 'rwm' },
      { ...fuse, access: 'r' },
      { ...fuse, access: 'rw' },
      { ...fuse, minor: 1, access: 'rw' },
    ]);
  });

  it('are for block devices as well, and not for FIFOs', () => {
    const rules = rulesOf({ device: ['/dev:/dev/all:rw'] }).filter(({ access }) => access === 'rw');
    expect(rules).toContainEqual({ allow: true, type: 'b', major: 8, minor: 0, access: 'rw' });
    expect(new Set(rules.map(({ type }) => type))).toEqual(new Set(['b', 'c']));
  });

  it('allow everything with --privileged, which can keep no less', () => {
    expect(rulesOf({ privileged: true, device: ['/dev/fuse'] })).toEqual([{ allow: true, access: 'rwm' }]);
    const problem = problemOf(() => rulesOf({ privileged: true, device: ['/dev/fuse:rw'] }));
    expect(problem).toContain("--device with 'rw' can't be kept with --privileged");
  });

  it.each([
    ['c 10:229 rwm', { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' }],
    ['b 8:* r', { allow: true, type: 'b', major: 8, minor: -1, access: 'r' }],
    ['a *:* rw', { allow: true, type: 'a', major: -1, minor: -1, access: 'rw' }],
  ])('are what --device-cgroup-rule %j says', (rule, wanted) => {
    expect(rulesOf({ deviceCgroupRule: [rule] }).slice(byDefault.length)).toEqual([wanted]);
  });

  it.each(['c 10 rwm', 'x 1:1 r', 'c 1:1', 'c 1:1 rr', 'c 1:1 x', 'c 4096:1 r', 'c 1:1048576 r'])(
    'refuse --device-cgroup-rule %j',
    (rule) => {
      expect(problemOf(() => rulesOf({ deviceCgroupRule: [rule] }))).toContain(`--device-cgroup-rule '${rule}'`);
    },
  );
});
