import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { defaultSeccompProfile } from '../../../src/engine/seccomp-profile.ts';
import { compileFilter } from '../../../src/seccomp/compile.ts';
import type { Seccomp, Spec } from '../../../src/spec/types.ts';
import { ARCH, verdict } from '../../support/bpf.ts';
import { needs } from '../../support/need.ts';

/** What `docker run` grants without --cap-add. */
const dockerDefault = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];
/** Against Docker 20.10: system calls that came later, those whose kernel bugs are long mended, and memory keys. */
const added =
  'cachestat fchmodat2 futex_requeue futex_wait futex_wake getxattrat listmount listxattrat map_shadow_stack mseal name_to_handle_at pkey_alloc pkey_free pkey_mprotect process_vm_readv process_vm_writev removexattrat riscv_hwprobe setxattrat statmount uretprobe';
/** io_uring went in Docker 25; socket now depends on the address family. */
const removed = 'io_uring_enter io_uring_register io_uring_setup socket';

function allowed({ syscalls = [] }: Seccomp): string[] {
  return syscalls.filter(({ action, args }) => action === 'SCMP_ACT_ALLOW' && !args).flatMap(({ names }) => names);
}

function unlocked(...capabilities: string[]): string {
  const base = new Set(allowed(defaultSeccompProfile([], 'x64')));
  return allowed(defaultSeccompProfile(capabilities, 'x64'))
    .filter((name) => !base.has(name))
    .sort()
    .join(' ');
}

describe('against Docker 20.10', () => {
  test('the names are the same but for those listed here', () => {
    const names = new Set(allowed(defaultSeccompProfile(dockerDefault, 'x64')));
    for (const name of added.split(' ')) expect(names.delete(name), name).toBe(true);
    for (const name of removed.split(' ')) expect(names.has(name), name).toBe(false);
    const docker2010 = [...names, ...removed.split(' ')].sort().join(' ');
    // the sorted names of the config.json that Docker 20.10 wrote for a plain `docker run` on x86-64
    expect(createHash('sha256').update(docker2010).digest('hex')).toBe(
      '76b83d5fea6a40d036fc69555aa42d637d84acb8916e32c0170640bc6648b7a8',
    );
  });

  const recorded = new URL('../../../../shared/data/configs/docker-run-i.config.json', import.meta.url).pathname;

  test('the programs answer alike', needs({ file: recorded }), () => {
    const docker = (JSON.parse(readFileSync(recorded, 'utf8')) as Spec).linux!.seccomp!;
    const [ours, theirs] = [defaultSeccompProfile(dockerDefault, 'x64'), docker].map((p) => compileFilter(p).program);
    const differing = (arch: number, args: number[]): Record<number, string> => {
      const found: Record<number, string> = {};
      for (let nr = 0; nr < 450; nr++) {
        const [now, then] = [verdict(ours!, { nr, arch, args }), verdict(theirs!, { nr, arch, args })];
        if (now !== then) found[nr] = `${then}, now ${now}`;
      }
      return found;
    };
    const more = 'errno 1, now allow';
    const less = 'allow, now errno 1';
    const x64 = { 303: more, 310: more, 311: more, 329: more, 330: more, 331: more, 425: less, 426: less, 427: less };
    const i386 = { 341: more, 347: more, 348: more, 380: more, 381: more, 382: more, 425: less, 426: less, 427: less };
    expect(differing(ARCH.x64, [0])).toEqual(x64);
    expect(differing(ARCH.i386, [0])).toEqual(i386);
    // flags for clone, a persona, AF_ALG
    expect(differing(ARCH.x64, [0x10000000])).toEqual({ ...x64, 41: less });
    expect(differing(ARCH.x64, [0x20008])).toEqual({ ...x64, 41: less });
    expect(differing(ARCH.x64, [38])).toEqual({ ...x64, 41: less });
  });
});

describe('capabilities', () => {
  test.each([
    ['CAP_BPF', 'bpf'],
    ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
    ['CAP_PERFMON', 'perf_event_open'],
    ['CAP_SYS_BOOT', 'reboot'],
    ['CAP_SYS_CHROOT', 'chroot'],
    ['CAP_SYSLOG', 'syslog'],
    ['CAP_SYS_MODULE', 'delete_module finit_module init_module'],
    ['CAP_SYS_NICE', 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node'],
    ['CAP_SYS_PACCT', 'acct'],
    ['CAP_SYS_PTRACE', 'kcmp pidfd_getfd process_madvise'],
    ['CAP_SYS_RAWIO', 'ioperm iopl'],
    ['CAP_SYS_TIME', 'clock_settime clock_settime64 settimeofday stime'],
    ['CAP_SYS_TTY_CONFIG', 'vhangup'],
    ['CAP_NET_ADMIN', ''],
    [
      'CAP_SYS_ADMIN',
      'bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare',
    ],
  ])('%s allows %s', (capability, names) => {
    expect(unlocked(capability)).toBe(names);
  });

  test('a call that two capabilities stand for is listed once', () => {
    const names = allowed(defaultSeccompProfile(['CAP_SYS_ADMIN', 'CAP_BPF', 'CAP_SYSLOG', 'CAP_SYS_PTRACE'], 'x64'));
    expect(names).toHaveLength(new Set(names).size);
  });

  test('only without CAP_SYS_ADMIN is clone filtered, and clone3 not there', () => {
    const rulesOn = (name: string, ...capabilities: string[]) =>
      defaultSeccompProfile(capabilities, 'x64').syscalls!.filter(
        ({ names }) => names.length === 1 && names[0] === name,
      );
    expect(rulesOn('clone3')).toEqual([{ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 }]);
    expect(rulesOn('clone')).toHaveLength(1);
    expect([...rulesOn('clone3', 'CAP_SYS_ADMIN'), ...rulesOn('clone', 'CAP_SYS_ADMIN')]).toEqual([]);
  });
});

describe('architectures', () => {
  test.each([
    ['x64', ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'], 'arch_prctl modify_ldt'],
    [
      'arm64',
      ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
      'arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2',
    ],
    ['riscv64', [], ''],
  ])('%s', (arch, architectures, own) => {
    const profile = defaultSeccompProfile([], arch);
    const elsewhere = new Set(allowed(defaultSeccompProfile([], 'none')));
    expect(profile.architectures).toEqual(architectures);
    expect(
      allowed(profile)
        .filter((name) => !elsewhere.has(name))
        .join(' '),
    ).toBe(own);
  });
});

describe.skipIf(process.arch !== 'x64')('the filter on x86-64', () => {
  const { program, skipped } = compileFilter(defaultSeccompProfile(dockerDefault, 'x64'));
  const on = (nr: number, ...args: (number | bigint)[]) => verdict(program, { nr, args });

  test('lets through what the stage still has to do, and what a shell does', () => {
    // setresgid setgroups setresuid capset prctl close_range execve write exit_group read mmap openat wait4
    for (const nr of [119, 116, 117, 126, 157, 436, 59, 1, 231, 0, 9, 257, 61]) expect(on(nr), `${nr}`).toBe('allow');
  });

  test('refuses what only the host may do', () => {
    // mount umount2 unshare setns reboot kexec_load init_module bpf keyctl pivot_root swapon userfaultfd
    for (const nr of [165, 166, 272, 308, 169, 246, 175, 321, 250, 155, 167, 323])
      expect(on(nr), `${nr}`).toBe('errno 1');
  });

  test('clone makes processes and threads but no namespaces', () => {
    expect(on(56, 17)).toBe('allow');
    expect(on(56, 0x3d0f00)).toBe('allow');
    for (const bit of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
      expect(on(56, bit | 17), bit.toString(16)).toBe('errno 1');
    expect(on(435)).toBe('errno 38');
  });

  test('personality takes five values', () => {
    const values = [0, 8, 0x20000, 0x20008, 0xffffffff];
    expect(values.map((value) => on(135, value))).toEqual(values.map(() => 'allow'));
    expect([1, 0x40000, 0x20009, 0x1_0000_0000].map((value) => on(135, value))).toEqual(new Array(4).fill('errno 1'));
  });

  test('socket takes the families of the list, all 64 bits of the argument counted', () => {
    const refused = Array.from({ length: 64 }, (_, n) => n).filter((family) => on(41, family) !== 'allow');
    const gone = [12, 19, 20, 23, 25, 34, 37];
    const afAlg = 38;
    const afVsock = 40;
    const unnamed = Array.from({ length: 64 - 46 }, (_, n) => n + 46);
    expect(refused).toEqual([...gone, afAlg, afVsock, ...unnamed]);
    expect(on(41, 0x1_0000_0026)).toBe('errno 1');
    expect(on(41, 0xffff_ffff_0000_0002n)).toBe('errno 1');
  });

  test('numbers nobody has assigned are ENOSYS', () => {
    expect([999, 0x3fffffff].map((nr) => on(nr))).toEqual(['errno 38', 'errno 38']);
  });

  test('whatever this libseccomp is too old for is one of the later calls', () => {
    expect(skipped.filter((name) => !added.split(' ').includes(name))).toEqual([]);
  });
});
