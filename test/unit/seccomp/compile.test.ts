import { statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { ContainerError } from '../../../src/core/kernel/error.ts';
import { programFault } from '../../../src/seccomp/bpf.ts';
import { compileFilter, libseccompIdentity } from '../../../src/seccomp/compile.ts';
import { seccompLoadFlags } from '../../../src/seccomp/rules.ts';
import type { Seccomp, SeccompArg, SeccompSyscall } from '../../../src/spec/types.ts';
import { ARCH, type Call, verdict } from '../../support/bpf.ts';

const arm64 = process.arch === 'arm64';
const native = arm64 ? ARCH.arm64 : ARCH.x64;
// read, write, getpid and close have these numbers on x86-64 and arm64
const nr = arm64 ? { read: 63, write: 64, getpid: 172, close: 57 } : { read: 0, write: 1, getpid: 39, close: 3 };

function ask(profile: Partial<Seccomp>, call: Call): string {
  const { program } = compileFilter({ defaultAction: 'SCMP_ACT_ALLOW', ...profile });
  expect(programFault(program)).toBeUndefined();
  return verdict(program, { arch: native, ...call });
}

function rule(names: string[], action: string, more: Partial<SeccompSyscall> = {}): SeccompSyscall {
  return { names, action: `SCMP_ACT_${action}`, ...more };
}

function errorOf(profile: unknown): Pick<ContainerError, 'message' | 'specPointer'> {
  try {
    compileFilter(profile as Seccomp);
  } catch (error) {
    const { message, specPointer } = error as ContainerError;
    return { message, specPointer };
  }
  throw new Error('no error');
}

describe('actions', () => {
  test.each([
    ['ALLOW', {}, 'SCMP_ACT_ERRNO', 'allow'],
    ['ERRNO', {}, 'SCMP_ACT_ALLOW', 'errno 1'],
    ['ERRNO', { errnoRet: 42 }, 'SCMP_ACT_ALLOW', 'errno 42'],
    ['ERRNO', { errnoRet: 0 }, 'SCMP_ACT_ALLOW', 'errno 0'],
    ['KILL', {}, 'SCMP_ACT_ALLOW', 'kill thread'],
    ['KILL_THREAD', {}, 'SCMP_ACT_ALLOW', 'kill thread'],
    ['KILL_PROCESS', {}, 'SCMP_ACT_ALLOW', 'kill process'],
    ['TRAP', {}, 'SCMP_ACT_ALLOW', 'trap'],
    ['TRACE', {}, 'SCMP_ACT_ALLOW', 'trace 1'],
    ['TRACE', { errnoRet: 0xffff }, 'SCMP_ACT_ALLOW', 'trace 65535'],
    ['LOG', {}, 'SCMP_ACT_ALLOW', 'log'],
  ])('%s %j', (action, more, defaultAction, expected) => {
    const profile = { defaultAction, syscalls: [rule(['getpid'], action, more)] };
    expect(ask(profile, { nr: nr.getpid })).toBe(expected);
    expect(ask(profile, { nr: nr.close })).not.toBe(expected);
  });

  test('the default action takes defaultErrnoRet', () => {
    const syscalls = [rule(['getpid'], 'ALLOW')];
    expect(ask({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 13, syscalls }, { nr: nr.close })).toBe('errno 13');
    expect(ask({ defaultAction: 'SCMP_ACT_TRACE', defaultErrnoRet: 7, syscalls }, { nr: nr.close })).toBe('trace 7');
  });

  test('a rule that repeats the default action is left out, one with another errno is not', () => {
    const syscalls = [rule(['getpid'], 'ERRNO'), rule(['close'], 'ERRNO', { errnoRet: 38 }), rule(['read'], 'ALLOW')];
    const profile = { defaultAction: 'SCMP_ACT_ERRNO', syscalls };
    expect(ask(profile, { nr: nr.getpid })).toBe('errno 1');
    expect(ask(profile, { nr: nr.close })).toBe('errno 38');
  });

  test('no rules, or none left, is a filter all the same', () => {
    expect(ask({ defaultAction: 'SCMP_ACT_LOG' }, { nr: 0 })).toBe('log');
    expect(ask({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [] }, { nr: 0 })).toBe('errno 1');
    expect(ask({ syscalls: [rule(['getpid', 'read'], 'ALLOW')] }, { nr: nr.getpid })).toBe('allow');
  });

  test('of two rules that contradict each other the first counts', () => {
    const syscalls = [rule(['getpid'], 'TRAP'), rule(['getpid'], 'KILL')];
    expect(ask({ syscalls }, { nr: nr.getpid })).toBe('trap');
    expect(ask({ syscalls: syscalls.toReversed() }, { nr: nr.getpid })).toBe('kill thread');
  });

  test('saying the same twice is no error', () => {
    const syscalls = [rule(['getpid'], 'ERRNO'), rule(['getpid', 'getpid'], 'ERRNO')];
    expect(ask({ syscalls }, { nr: nr.getpid })).toBe('errno 1');
  });
});

describe('arguments', () => {
  function refused(args: SeccompArg[], ...values: (number | bigint)[]): boolean {
    return ask({ syscalls: [rule(['read'], 'ERRNO', { args })] }, { nr: nr.read, args: values }) === 'errno 1';
  }
  const big = 0x1_0000_0005;

  test.each([
    ['SCMP_CMP_NE', 5, 0, [6, big], [5]],
    ['SCMP_CMP_LT', 5, 0, [0, 4], [5, 6, big]],
    ['SCMP_CMP_LE', 5, 0, [0, 5], [6, big]],
    ['SCMP_CMP_EQ', 5, 0, [5], [4, 6, big]],
    ['SCMP_CMP_GE', 5, 0, [5, 6, big], [4]],
    ['SCMP_CMP_GT', 5, 0, [6, big], [5]],
    ['SCMP_CMP_EQ', big, 0, [big], [5]],
    ['SCMP_CMP_MASKED_EQ', 0b110, 0b100, [0b100, 0b101, 0b1101], [0b110, 0b010, 0]],
  ])('%s %i %i', (op, value, valueTwo, matching, others) => {
    for (const arg of matching) expect(refused([{ index: 2, value, valueTwo, op }], 0, 0, arg), `${arg}`).toBe(true);
    for (const arg of others) expect(refused([{ index: 2, value, valueTwo, op }], 5, 5, arg), `${arg}`).toBe(false);
  });

  test('all 64 bits of a bigint count', () => {
    const args = [{ index: 0, value: 0xffff_ffff_ffff_ffffn as unknown as number, op: 'SCMP_CMP_EQ' }];
    expect(refused(args, 0xffff_ffff_ffff_ffffn)).toBe(true);
    expect(refused(args, 0xffff_ffff_ffff_fffen)).toBe(false);
  });

  test('several arguments must all match', () => {
    const args = [0, 1].map((index) => ({ index, value: 7, op: 'SCMP_CMP_EQ' }));
    expect([refused(args, 7, 7), refused(args, 7, 8), refused(args, 8, 7)]).toEqual([true, false, false]);
  });

  test('the same argument twice is a choice, as in runc', () => {
    const args = [7, 9].map((value) => ({ index: 0, value, op: 'SCMP_CMP_EQ' }));
    expect([refused(args, 7), refused(args, 8), refused(args, 9)]).toEqual([true, false, true]);
  });
});

describe('system calls newer than the profile', () => {
  const syscalls = [rule(['getpid', 'read'], 'ALLOW')];
  const newest = Math.max(nr.getpid, nr.read);

  test.each(['ERRNO', 'KILL', 'KILL_PROCESS', 'TRAP'])('get ENOSYS where the default is %s', (action) => {
    const profile = { defaultAction: `SCMP_ACT_${action}`, syscalls };
    expect(ask(profile, { nr: newest + 1 })).toBe('errno 38');
    expect(ask(profile, { nr: newest })).toBe('allow');
    expect(ask(profile, { nr: nr.write })).not.toBe('errno 38');
  });

  test.each(['ALLOW', 'LOG', 'TRACE'])('are left alone where the default is %s', (action) => {
    const profile = { defaultAction: `SCMP_ACT_${action}`, syscalls: [rule(['getpid'], 'KILL')] };
    expect(ask(profile, { nr: newest + 1 })).toBe(ask(profile, { nr: nr.write }));
  });

  test('a refused call counts as known', () => {
    const profile = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [...syscalls, rule(['clone3'], 'ERRNO')] };
    expect(ask(profile, { nr: 434 })).toBe('errno 1');
    expect(ask(profile, { nr: 436 })).toBe('errno 38');
  });

  test('every number of every architecture has an answer', () => {
    const architectures = arm64 ? ['SCMP_ARCH_ARM'] : ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'];
    const { program } = compileFilter({ defaultAction: 'SCMP_ACT_ERRNO', architectures, syscalls });
    const arches = arm64 ? [ARCH.arm64, ARCH.arm] : [ARCH.x64, ARCH.i386];
    for (const arch of arches) {
      const allowed = Array.from({ length: 600 }, (_, n) => n).filter(
        (n) => verdict(program, { nr: n, arch }) === 'allow',
      );
      expect(allowed).toHaveLength(2);
      expect(verdict(program, { nr: 999, arch })).toBe('errno 38');
    }
    expect(verdict(program, { nr: 0, arch: 0x8000_0016 })).toBe('kill thread'); // s390x is not in the filter
  });
});

describe('what libseccomp does not know', () => {
  test('a system call is skipped and reported once', () => {
    const syscalls = [rule(['getpid', 'frobnicate'], 'ALLOW'), rule(['frobnicate', 'transmogrify'], 'ALLOW')];
    const { program, skipped } = compileFilter({ defaultAction: 'SCMP_ACT_ERRNO', syscalls });
    expect(skipped).toEqual(['frobnicate', 'transmogrify']);
    expect(verdict(program, { nr: nr.getpid, arch: native })).toBe('allow');
  });

  test('a system call of another architecture is not unknown', () => {
    const foreign = rule([arm64 ? 'open' : 'chown32'], 'ALLOW');
    expect(compileFilter({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [foreign] }).skipped).toEqual([]);
  });

  test.each(['SCMP_ARCH_VAX', 'x86_64', 'SCMP_ARCH_x86-64', ''])('the architecture %j is an error', (name) => {
    expect(errorOf({ defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_NATIVE', name] })).toEqual({
      message: `/linux/seccomp/architectures/1 is ${JSON.stringify(name)}, which this libseccomp does not know`,
      specPointer: '/linux/seccomp/architectures/1',
    });
  });

  test('which one it is, its file says', () => {
    const identity = /^(\/.*\/libseccomp\.so\.2\S*) (\d+) (\d+) [\d.]+$/.exec(libseccompIdentity());
    const { ino, size } = statSync(identity![1]!);
    expect(identity!.slice(2)).toEqual([String(ino), String(size)]);
  });
});

describe('flags', () => {
  test('become those of seccomp(2)', () => {
    expect(seccompLoadFlags({ defaultAction: 'SCMP_ACT_ALLOW' })).toBe(0);
    expect(
      compileFilter({
        defaultAction: 'SCMP_ACT_ALLOW',
        flags: ['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW', 'SECCOMP_FILTER_FLAG_TSYNC'],
      }).loadFlags,
    ).toBe(7);
  });

  test('NEW_LISTENER with a rule for an agent alone, and what goes with it or not without it', () => {
    const flags = ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'];
    const syscalls = [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }];
    expect(seccompLoadFlags({ defaultAction: 'SCMP_ACT_ALLOW', flags, syscalls })).toBe(1 | 8 | 0x10 | 0x20);
    expect(seccompLoadFlags({ defaultAction: 'SCMP_ACT_ALLOW', flags })).toBe(1);
  });

  test('that are unknown are refused', () => {
    expect(errorOf({ defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_NEW_LISTENER'] }).message).toBe(
      '/linux/seccomp/flags/0 is "SECCOMP_FILTER_FLAG_NEW_LISTENER"; allowed are SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
    );
  });
});

describe('errors', () => {
  const allowedActions =
    'SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_THREAD, SCMP_ACT_KILL_PROCESS, SCMP_ACT_TRAP, SCMP_ACT_TRACE, SCMP_ACT_LOG, SCMP_ACT_NOTIFY';
  const arg = { index: 0, value: 1, op: 'SCMP_CMP_EQ' };

  test.each([
    [{ defaultAction: 'ALLOW' }, '/defaultAction', `is "ALLOW"; allowed are ${allowedActions}`],
    [{ defaultAction: 'toString' }, '/defaultAction', `is "toString"; allowed are ${allowedActions}`],
    [{ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 4096 }, '/defaultErrnoRet', 'is 4096; allowed are 0 to 4095'],
    [{ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1.5 }, '/defaultErrnoRet', 'is 1.5; allowed are 0 to 4095'],
    [{ defaultErrnoRet: 1 }, '/defaultErrnoRet', 'is 1, but SCMP_ACT_ALLOW returns no errno'],
    [{ syscalls: [rule(['read'], 'NO')] }, '/syscalls/0/action', `is "SCMP_ACT_NO"; allowed are ${allowedActions}`],
    [
      { syscalls: [rule(['read'], 'KILL'), rule(['write'], 'TRAP', { errnoRet: 5 })] },
      '/syscalls/1/errnoRet',
      'is 5, but SCMP_ACT_TRAP returns no errno',
    ],
    [{ syscalls: [rule(['read\0x'], 'KILL')] }, '/syscalls/0/names/0', 'is "read\\u0000x", which names no system call'],
    [{ syscalls: [rule(['read', ''], 'KILL')] }, '/syscalls/0/names/1', 'is "", which names no system call'],
    [
      { syscalls: [rule(['read'], 'KILL', { args: [{ ...arg, index: 6 }] })] },
      '/syscalls/0/args/0/index',
      'is 6; allowed are 0 to 5',
    ],
    [
      { syscalls: [rule(['read'], 'KILL', { args: [arg, { ...arg, op: 'EQ' }] })] },
      '/syscalls/0/args/1/op',
      'is "EQ"; allowed are SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ',
    ],
    [
      { syscalls: [rule(['read'], 'KILL', { args: [{ ...arg, value: 2 ** 64 }] })] },
      '/syscalls/0/args/0/value',
      'is 18446744073709552000; allowed are whole numbers up to 2^53 - 1',
    ],
    [
      { syscalls: [rule(['read'], 'KILL', { args: [{ ...arg, valueTwo: -1 }] })] },
      '/syscalls/0/args/0/valueTwo',
      'is -1; allowed are 0 to 2^64 - 1',
    ],
  ])('%j', (profile, pointer, text) => {
    const specPointer = `/linux/seccomp${pointer}`;
    const expected = { message: `${specPointer} ${text}`, specPointer };
    expect(errorOf({ defaultAction: 'SCMP_ACT_ALLOW', ...profile })).toEqual(expected);
  });

  test('a profile beyond what the kernel takes', () => {
    const comparisons = Array.from({ length: 2000 }, (_, value) => ({
      index: 0,
      value: value * 2 ** 32,
      op: 'SCMP_CMP_EQ',
    }));
    const syscalls = [rule(['read'], 'KILL', { args: comparisons })];
    const { message } = errorOf({ defaultAction: 'SCMP_ACT_ALLOW', syscalls });
    expect(message).toMatch(
      /^\/linux\/seccomp compiles to a program that cannot be loaded: \d+ instructions, the kernel takes 4096$/,
    );
  });
});
