import { describe, expect, test } from 'vitest';
import { resolveSeccompFile } from '../../../src/engine/seccomp-file.ts';
import { UsageError } from '../../../src/engine/usage-error.ts';

const facts = { capabilities: ['CAP_CHOWN', 'CAP_KILL'], arch: 'x64', kernelRelease: '6.12.3-cloud-amd64' };
const allow = { names: ['read'], action: 'SCMP_ACT_ALLOW' };

function resolve(profile: object, changed: Partial<typeof facts> = {}) {
  return resolveSeccompFile({ defaultAction: 'SCMP_ACT_ERRNO', ...profile }, 'p.json', { ...facts, ...changed });
}

/** Whether a rule with these conditions is in. */
function applies(conditions: object, changed: Partial<typeof facts> = {}): boolean {
  return resolve({ syscalls: [{ ...allow, ...conditions }] }, changed).syscalls!.length === 1;
}

describe('a plain OCI object', () => {
  test('comes through as it is', () => {
    const profile = {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      architectures: ['SCMP_ARCH_X86_64'],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      listenerPath: '/run/agent.sock',
      listenerMetadata: 'some',
      syscalls: [
        { ...allow, args: [{ index: 0, value: 1, valueTwo: 2, op: 'SCMP_CMP_MASKED_EQ' }] },
        { names: ['write', 'close'], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args: [] },
      ],
    };
    expect(resolve(profile)).toEqual(profile);
  });

  test('may leave out everything but the default action', () => {
    expect(resolve({})).toEqual({ defaultAction: 'SCMP_ACT_ERRNO', architectures: [], flags: [], syscalls: [] });
  });

  test('may say null for what is not there', () => {
    const rule = { ...allow, args: null, includes: null, excludes: {}, comment: '', errnoRet: null };
    expect(resolve({ defaultErrnoRet: null, architectures: null, syscalls: [rule] }).syscalls).toEqual([
      { ...allow, args: [] },
    ]);
  });
});

describe("docker's additions", () => {
  const archMap = [
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
    { architecture: 'SCMP_ARCH_RISCV64', subArchitectures: null },
  ];

  test.each([
    ['x64', ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']],
    ['arm64', ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']],
    ['s390x', []],
  ])('archMap on %s', (arch, architectures) => {
    expect(resolve({ archMap }, { arch }).architectures).toEqual(architectures);
  });

  test('name, from before there was names', () => {
    const { names: _, ...rule } = allow;
    expect(resolve({ syscalls: [{ ...rule, name: 'read' }] }).syscalls).toEqual([{ ...allow, args: [] }]);
  });

  test.each([
    [{ includes: { caps: ['CAP_CHOWN'] } }, true],
    [{ includes: { caps: ['CAP_CHOWN', 'CAP_KILL'] } }, true],
    [{ includes: { caps: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] } }, false],
    [{ excludes: { caps: ['CAP_SYS_ADMIN'] } }, true],
    [{ excludes: { caps: ['CAP_SYS_ADMIN', 'CAP_KILL'] } }, false],
    [{ includes: { arches: ['amd64', 'x32'] } }, true],
    [{ includes: { arches: ['arm64'] } }, false],
    [{ excludes: { arches: ['s390', 's390x'] } }, true],
    [{ excludes: { arches: ['x86', 'amd64'] } }, false],
    [{ includes: { minKernel: '4.8' } }, true],
    [{ includes: { minKernel: '6.12' } }, true],
    [{ includes: { minKernel: '6.13' } }, false],
    [{ includes: { minKernel: '7.0' } }, false],
    [{ excludes: { minKernel: '6.12' } }, false],
    [{ excludes: { minKernel: '6.13' } }, true],
    [{ includes: { minKernel: '' } }, true],
    [{ includes: { caps: ['CAP_KILL'], arches: ['arm64'] } }, false],
    [{ includes: { arches: ['amd64'] }, excludes: { caps: ['CAP_KILL'] } }, false],
    [{ includes: {}, excludes: {} }, true],
  ])('%j', (conditions, expected) => {
    expect(applies(conditions)).toBe(expected);
  });

  test('arm64 is arm64', () => {
    expect(applies({ includes: { arches: ['arm', 'arm64'] } }, { arch: 'arm64' })).toBe(true);
  });
});

test("podman's errno names", () => {
  const profile = {
    defaultErrno: 'ENOSYS',
    syscalls: [{ names: ['read'], action: 'SCMP_ACT_ERRNO', errno: 'EACCES' }],
  };
  expect(resolve(profile)).toMatchObject({ defaultErrnoRet: 38, syscalls: [{ errnoRet: 13 }] });
  expect(resolve({ defaultErrno: 'ENOSYS', defaultErrnoRet: 38 }).defaultErrnoRet).toBe(38);
});

describe('errors', () => {
  const actions =
    'SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_THREAD, SCMP_ACT_KILL_PROCESS, SCMP_ACT_TRAP, SCMP_ACT_TRACE, SCMP_ACT_LOG';
  const arg = { index: 0, value: 0, op: 'SCMP_CMP_EQ' };

  test.each([
    [{ defaultAction: undefined }, '/defaultAction is missing'],
    [{ defaultAction: 'ALLOW' }, `/defaultAction is "ALLOW", not one of ${actions}`],
    [{ defaultErrnoRet: '1' }, '/defaultErrnoRet is "1", not a whole number up to 2^53 - 1'],
    [{ defaultErrno: 'EWHAT' }, '/defaultErrno is "EWHAT", not the name of an errno, such as "EPERM"'],
    [{ defaultErrno: 'ENOSYS', defaultErrnoRet: 1 }, '/defaultErrnoRet is 1, but /defaultErrno is "ENOSYS"'],
    [{ architectures: 'x86' }, '/architectures is "x86", not a list'],
    [{ architectures: [], archMap: [] }, 'it has both architectures and archMap; one of them is allowed'],
    [
      { archMap: [{ arch: 'SCMP_ARCH_X86_64' }] },
      '/archMap/0/arch is no field of the format; allowed are architecture, subArchitectures',
    ],
    [{ syscalls: {} }, '/syscalls is {}, not a list'],
    [{ syscalls: [null] }, '/syscalls/0 is null, not an object'],
    [{ syscalls: [allow, 'read'] }, '/syscalls/1 is "read", not an object'],
    [{ syscalls: [{ ...allow, names: [1] }] }, '/syscalls/0/names/0 is 1, not a string'],
    [{ syscalls: [{ ...allow, name: 'read' }] }, '/syscalls/0 has both name and names; one of them is allowed'],
    [
      { syscalls: [{ ...allow, action: 'SCMP_ACT_NOTIFY' }] },
      `/syscalls/0/action is "SCMP_ACT_NOTIFY", not one of ${actions}`,
    ],
    [
      { syscalls: [{ ...allow, exclude: {} }] },
      '/syscalls/0/exclude is no field of the format; allowed are names, name, action, errnoRet, errno, args, comment, includes, excludes',
    ],
    [
      { syscalls: [{ ...allow, includes: { capabilities: [] } }] },
      '/syscalls/0/includes/capabilities is no field of the format; allowed are caps, arches, minKernel',
    ],
    [
      { syscalls: [{ ...allow, includes: { minKernel: '4.8.1' } }] },
      '/syscalls/0/includes/minKernel is "4.8.1", not MAJOR.MINOR, such as "4.8"',
    ],
    [
      { syscalls: [{ ...allow, args: [{ ...arg, value: 2 ** 64 }] }] },
      '/syscalls/0/args/0/value is 18446744073709552000, not a whole number up to 2^53 - 1',
    ],
    [{ syscalls: [{ ...allow, args: [{ ...arg, index: undefined }] }] }, '/syscalls/0/args/0/index is missing'],
    [
      { syscalls: [{ ...allow, args: [arg, { ...arg, op: '==' }] }] },
      '/syscalls/0/args/1/op is "==", not one of SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ',
    ],
  ])('%j', (profile, message) => {
    expect(() => resolve(profile)).toThrow(new UsageError(`seccomp profile p.json: ${message}`));
  });

  test.each([[null], [[]], ['text'], [7]])('%j is no profile', (profile) => {
    const message = `seccomp profile p.json: / is ${JSON.stringify(profile)}, not an object`;
    expect(() => resolveSeccompFile(profile, 'p.json', facts)).toThrow(new UsageError(message));
  });

  test('a faulty rule is one even if its conditions leave it out', () => {
    const rule = { ...allow, action: 'ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } };
    expect(() => resolve({ syscalls: [rule] })).toThrow('/syscalls/0/action');
  });
});
