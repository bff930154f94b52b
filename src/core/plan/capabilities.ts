/** Capability names and sets. Pure. Source: capabilities(7), linux/capability.h. */
import { ContainerError } from '../kernel/error.ts';

/** Position is the number. */
export const capabilityNames = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const;

export const CAP_SYS_ADMIN = 21;
/** What a process has in a user namespace that it enters. */
export const allCapabilities = (1n << BigInt(capabilityNames.length)) - 1n;

/** Throws ContainerError with the JSON pointer of the list for a name that the kernel's list does not have. */
export function capabilitySet(names: readonly string[] = [], specPointer?: string): bigint {
  let set = 0n;
  for (const name of names) {
    const number = (capabilityNames as readonly string[]).indexOf(name);
    if (number < 0)
      throw new ContainerError(`unknown capability ${name}; known are ${capabilityNames.join(', ')}`, { specPointer });
    set |= 1n << BigInt(number);
  }
  return set;
}

export function capabilitiesIn(set: bigint): string[] {
  return capabilityNames.filter((_, number) => (set >> BigInt(number)) & 1n);
}
