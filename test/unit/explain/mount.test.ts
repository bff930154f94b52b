import { expect, test } from 'vitest';
import { parseMountinfo } from '../../../src/core/host/mountinfo.ts';
import { pivotRootFault, procFault } from '../../../src/explain/mount.ts';

const mounts = parseMountinfo(`20 1 8:1 / / rw - ext4 /dev/vda rw
30 20 0:30 / /new rw - tmpfs none rw
31 20 0:31 / /open rw shared:7 - tmpfs none rw
32 31 0:32 / /open/new rw - tmpfs none rw
40 40 0:1 / / rw - rootfs rootfs rw
`);
const place = (mountId: number, mountRoot = true) => ({ mountId, mountRoot });
const fault = (code: string, newRoot: number, isRoot: boolean, root = place(20)) =>
  pivotRootFault(code, mounts, place(newRoot, isRoot), root);

test('each condition of pivot_root(2) by its own name (E10)', () => {
  expect(fault('EBUSY', 20, false)?.[0]).toBe('the new root lies on the same mount as the present one');
  expect(fault('EINVAL', 30, false)?.[0]).toBe('the new root is not a mount point');
  expect(fault('EINVAL', 31, true)).toEqual(['the mount /open is shared', 'mount --make-private /open']);
  expect(fault('EINVAL', 32, true)?.[0]).toBe('the mount /open is shared');
  expect(fault('EINVAL', 30, true, place(20, false))?.[0]).toMatch('this is a chroot');
  expect(fault('EINVAL', 30, true, place(40))?.[0]).toBe('the host runs from its initramfs (rootfs)');
});

test('nothing is claimed where all of them hold, or for another errno', () => {
  expect(fault('EINVAL', 30, true)).toBeUndefined();
  expect(fault('EBUSY', 30, true)).toBeUndefined();
  expect(fault('EPERM', 30, false)).toBeUndefined();
});

const proc = '20 1 8:1 / / rw - ext4 /dev/vda rw\n25 20 0:5 / /proc rw,nosuid - proc proc rw\n';

test('the mounts that hide a part of /proc are listed (E11)', () => {
  const masked = `${proc}26 25 0:6 /null /proc/kcore rw - devtmpfs none rw
27 25 0:7 / /proc/scsi ro - tmpfs none rw
28 25 0:8 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw
29 20 0:9 / /sys rw - sysfs none rw
`;
  expect(procFault(parseMountinfo(masked))?.[0]).toBe(
    'it would show what mounts outside hide: /proc/kcore, /proc/scsi',
  );
});

test('no procfs outside, or a read-only one', () => {
  expect(procFault(mounts)?.[0]).toMatch('outside there is none');
  expect(procFault(parseMountinfo(proc.replace('rw,nosuid', 'ro,nosuid')))?.[0]).toBe('/proc outside is read-only');
});

test('nothing is claimed about a /proc of which no part is hidden', () => {
  const free = `${proc}28 25 0:8 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw\n`;
  expect(procFault(parseMountinfo(free))).toBeUndefined();
});
