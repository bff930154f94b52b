import { describe, expect, test } from 'vitest';
import type { MountInfo } from '../../../src/core/host/mountinfo.ts';
import { E } from '../../../src/core/kernel/errno.ts';
import { SyscallError } from '../../../src/core/kernel/error.ts';
import type { KernelView } from '../../../src/workshop/kernel-view.ts';
import { likelyCause } from '../../../src/workshop/likely-causes.ts';
import { painter, wrap } from '../../../src/workshop/step-format.ts';
import { changes, shortenFor } from '../../../src/workshop/view-changes.ts';

const id = 'a'.repeat(64);
const short = shortenFor(`/var/lib/tinyctr/containers/${id}/rootfs`);

const mount = (number: number, mountPoint: string, more: Partial<MountInfo> = {}): MountInfo => ({
  ...{ id: number, parent: 1, root: '/', mountPoint, options: ['rw', 'nosuid'], optionalFields: [] },
  ...{ fstype: 'tmpfs', source: 'none', superOptions: [] },
  ...more,
});

const view = (more: Partial<KernelView> = {}): KernelView => ({
  namespaces: { mnt: { id: 1, ofHost: false }, uts: { id: 2, ofHost: false } },
  mounts: [mount(1, '/')],
  hostname: 'host',
  ids: { uid: [0, 0, 0, 0], gid: [0, 0, 0, 0], groups: [] },
  capabilities: { inheritable: [], permitted: ['CAP_CHOWN'], effective: ['CAP_CHOWN'], bounding: [], ambient: [] },
  ...{ noNewPrivileges: false, seccomp: false, cgroup: '/', root: '/', cwd: '/' },
  ...more,
});

describe('what has changed between two looks', () => {
  test('nothing', () => expect(changes(view(), view(), short)).toEqual([]));

  test('mounts: new, gone, moved, changed, and who hears of them', () => {
    const before = view({
      mounts: [mount(1, '/', { optionalFields: ['shared:1'] }), mount(2, '/old'), mount(3, '/a')],
    });
    const now = view({
      mounts: [
        mount(1, '/', { optionalFields: ['master:1'] }),
        mount(3, '/b'),
        mount(4, `/var/lib/tinyctr/containers/${id}/rootfs/proc`, { fstype: 'proc', root: `/x/${id}` }),
      ],
    });
    expect(changes(before, now, short)).toEqual([
      {
        topic: 'mounts',
        lines: [
          '+ ROOTFS/proc  proc of /x/aaaaaaaaaaaa… nosuid',
          '/a is /b now',
          '- /old  tmpfs nosuid',
          'propagation shared → master',
        ],
      },
    ]);
  });

  test('a new mount namespace has copies, which are no news', () => {
    const now = view({ namespaces: { ...view().namespaces, mnt: { id: 9, ofHost: false } }, mounts: [mount(7, '/')] });
    expect(changes(view(), now, short)).toEqual([
      { topic: 'namespaces', lines: ['+ mnt    9'] },
      { topic: 'mounts', lines: ['a copy of the 1 that were there'] },
    ]);
  });

  test('capabilities and ids', () => {
    const now = view({
      ids: { uid: [1000, 1000, 1000, 1000], gid: [0, 0, 0, 0], groups: [10] },
      capabilities: { ...view().capabilities, effective: [], ambient: ['CAP_KILL'] },
    });
    expect(changes(view(), now, short)).toEqual([
      { topic: 'ids', lines: ['uid 0, gid 0, groups none → uid 1000, gid 0, groups 10'] },
      { topic: 'capabilities', lines: ['- effective 1 → 0: none left', '+ ambient 0 → 1: kill'] },
    ]);
  });
});

test('lines are never longer than asked for, and nothing is lost', () => {
  const text = `mount("overlay", "/a/very/long/path/that/has/many/parts/and/goes/on", ${'x'.repeat(50)})`;
  const lines = wrap(text, 20);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(20);
  expect(lines.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
});

test('colours on a terminal that wants them', () => {
  expect(painter({ TERM: 'xterm' }, true)('gone', 'a')).toBe('\x1b[31ma\x1b[0m');
  for (const [env, terminal] of [
    [{ NO_COLOR: '1' }, true],
    [{ TERM: 'dumb' }, true],
    [{}, false],
  ] as const)
    expect(painter(env, terminal)('gone', 'a')).toBe('a');
});

test('an errno of a call means something', () => {
  const error = new SyscallError({
    syscall: 'open_tree',
    call: 'open_tree(AT_FDCWD, "/a", 0)',
    errno: E.ENOENT,
    side: 'stage',
  });
  expect(likelyCause(error)).toContain('source of a bind mount');
});
