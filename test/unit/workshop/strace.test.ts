import { expect, test } from 'vitest';
import * as k from '../../../src/core/kernel/constants.ts';
import * as structs from '../../../src/core/kernel/structs.ts';
import type { Arg } from '../../../src/core/stage/protocol.ts';
import { hostCall } from '../../../src/workshop/host-calls.ts';
import { straceCall, straceResult } from '../../../src/workshop/strace.ts';

test.each<[string, Arg[], string]>([
  [
    'openat2',
    [k.AT_FDCWD, '/a "b"', structs.openHow(k.O_PATH, 0, k.RESOLVE_IN_ROOT), 24],
    'openat2(AT_FDCWD, "/a \\"b\\"", {flags=O_PATH, resolve=RESOLVE_IN_ROOT}, 24)',
  ],
  [
    'mount_setattr',
    [5, '', k.AT_EMPTY_PATH, structs.mountAttr(k.MOUNT_ATTR_RDONLY, 0, k.MS_PRIVATE, 0), 32],
    'mount_setattr(5, "", AT_EMPTY_PATH, {attr_set=MOUNT_ATTR_RDONLY, propagation=MS_PRIVATE}, 32)',
  ],
  ['prctl', [k.PR_CAPBSET_DROP, 21, 0, 0, 0], 'prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)'],
  [
    'prctl',
    [k.PR_CAP_AMBIENT, k.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0],
    'prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)',
  ],
  ['prctl', [k.PR_SET_PDEATHSIG, 9, 0, 0, 0], 'prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)'],
  [
    'prlimit64',
    [0, 7, structs.rlimit64(1024, -1), null],
    'prlimit64(0, RLIMIT_NOFILE, {rlim_cur=1024, rlim_max=RLIM64_INFINITY}, NULL)',
  ],
  ['mknodat', [5, 'null', k.S_IFCHR | 0o666, structs.makedev(1, 3)], 'mknodat(5, "null", S_IFCHR|0666, makedev(1, 3))'],
  [
    'mknodat',
    [5, 'big', k.S_IFBLK | 0o600, structs.makedev(259, 70000)],
    'mknodat(5, "big", S_IFBLK|0600, makedev(259, 70000))',
  ],
  ['setgroups', [2, structs.gidList([5, 6])], 'setgroups(2, [5, 6])'],
  [
    'capset',
    [structs.capHeader, structs.capData(1n, 3n, 0n)],
    'capset([8 bytes], {effective=CAP_CHOWN, permitted=CAP_CHOWN|CAP_DAC_OVERRIDE, inheritable=0})',
  ],
  [
    'execve',
    ['/bin/true', { strings: ['true'] }, { strings: ['SECRET=1'] }],
    'execve("/bin/true", ["true"], [/* 1 vars */])',
  ],
  ['unshare', [k.CLONE_NEWCGROUP], 'unshare(CLONE_NEWCGROUP)'],
])('%s %#', (name, args, text) => {
  expect(straceCall(name, args)).toBe(text);
  expect(straceCall(name, args)).toBe(text); // remembered
});

test('what was remembered of one value is not shown for another', () => {
  expect(straceCall('unshare', [k.CLONE_NEWNS])).toBe('unshare(CLONE_NEWNS)');
  expect(straceCall('unshare', [k.CLONE_NEWUTS])).toBe('unshare(CLONE_NEWUTS)');
  const how = (flags: number) => straceCall('openat2', [3, 'a', structs.openHow(flags, 0, 0), 24]);
  expect(how(k.O_PATH)).not.toBe(how(k.O_DIRECTORY));
});

test('descriptors with what they lead to, results by name', () => {
  const label = (fd: number) => (fd === 5 ? '/dev' : undefined);
  expect(straceCall('close', [5], label)).toBe('close(5</dev>)');
  expect(straceCall('close', [6], label)).toBe('close(6<?>)');
  expect([0, -9, null, undefined].map(straceResult)).toEqual([' = 0', ' = -1 EBADF', ' = ?', ' = ?']);
});

test('the host’s calls in words: clone3, frames with descriptors, seals, an unknown function', () => {
  const clone = hostCall('tinyctr_spawn', [k.CLONE_NEWNS | k.CLONE_NEWPID, 8, 9, new Int32Array(5), 5], 'x64');
  expect(clone).toEqual({
    name: 'clone3',
    call: 'clone3({flags=CLONE_NEWNS|CLONE_NEWPID|CLONE_INTO_CGROUP|CLONE_PIDFD|CLONE_VFORK|CLONE_VM|CLONE_CLEAR_SIGHAND, cgroup=8})',
  });
  expect(hostCall('tinyctr_send', [4, 12, Int32Array.of(20, 21)], 'x64').call).toBe(
    'sendmsg(4, {12 bytes, SCM_RIGHTS=[20, 21]})',
  );
  expect(hostCall('tinyctr_receive', [4, 0, new Int32Array()], 'x64').call).toBe('recvmsg(4, {0 bytes})');
  expect(hostCall('tinyctr_catch_signals', [{ byteLength: 9 }, 9], 'x64').call).toBe(
    'tinyctr_catch_signals([9 bytes], 9)',
  );
  for (const [arch, setns] of [
    ['x64', 308],
    ['arm64', 268],
  ] as const)
    expect(hostCall('tinyctr_syscall', [setns, 5, k.CLONE_NEWPID, 0, 0, 0, 0], arch).call).toBe(
      'setns(5, CLONE_NEWPID)',
    );
});
