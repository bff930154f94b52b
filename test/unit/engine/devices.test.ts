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
const devicesOf = (options: Partial<RunOptions>) => specOf(options, { host }).spec.linux?.devices;

describe('--device', () => {
  it.each([
    ['/dev/fuse', '/dev/fuse'],
    ['/dev/fuse:/dev/x', '/dev/x'],
    ['/dev/fuse:rwm', '/dev/fuse'],
    ['/dev/fuse:/dev/x:mrw', '/dev/x'],
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
    ['/dev/fuse:r', 'not there yet'],
    ['/dev/fuse:/x:rw', 'not there yet'],
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
