/**
 * Docker's default seccomp profile, resolved for one container: what a capability does not stand for stays forbidden.
 * Pure. The data beside this file says which system calls; docs/seccomp.md says why.
 */
import type { Seccomp, SeccompArg, SeccompSyscall } from '../spec/types.ts';
import profile from './data/seccomp-default.json' with { type: 'json' };

const EPERM = 1;
const ENOSYS = 38;

/**
 * `capabilities` is the bounding set, as CAP_… names; `arch` is Node's name of the architecture.
 * On an architecture that the profile has nothing about, only its own system calls are filtered.
 */
export function defaultSeccompProfile(capabilities: readonly string[], arch: string = process.arch): Seccomp {
  const here = arch === 'x64' || arch === 'arm64' ? profile.allowOnArchitecture[arch] : { filter: [], names: [] };
  const granted = Object.entries(profile.allowWithCapability).filter(([name]) => capabilities.includes(name));
  const names = [...profile.allow, ...here.names, ...granted.flatMap(([, unlocked]) => unlocked)];
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: here.filter,
    syscalls: [
      { names: [...new Set(names)], action: 'SCMP_ACT_ALLOW' },
      ...profile.personality.map((value) => allowIf('personality', 'SCMP_CMP_EQ', value)),
      allowIf('socket', 'SCMP_CMP_LT', profile.socketFamilies.below),
      ...profile.socketFamilies.others.map((value) => allowIf('socket', 'SCMP_CMP_EQ', value)),
      ...(capabilities.includes('CAP_SYS_ADMIN') ? [] : cloneWithoutNamespaces()),
    ],
  };
}

/** clone3 hides its flags behind a pointer, where no filter can look: with ENOSYS, C libraries turn to clone instead. */
function cloneWithoutNamespaces(): SeccompSyscall[] {
  return [
    allowIf('clone', 'SCMP_CMP_MASKED_EQ', profile.cloneFlagsWithSysAdmin),
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ];
}

/** Allows a system call for values of its first argument. For SCMP_CMP_MASKED_EQ: when none of the bits is set. */
function allowIf(name: string, op: SeccompArg['op'], value: number): SeccompSyscall {
  return { names: [name], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value, op }] };
}
