/** Gives a device program to the kernel and ties it to a cgroup. Host side. Source: bpf(2), linux/bpf.h. */
import { closeSync, readFileSync } from 'node:fs';
import { ContainerError, SyscallError } from '../kernel/error.ts';
import type { HostFd } from '../stage/stage.ts';
import { shim, syscall } from './syscall.ts';

const BPF_PROG_ATTACH = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
/** The program calls no function of the kernel, so it needs no GPL-compatible license. */
const LICENSE = Buffer.from('Apache-2.0\0');

/**
 * From now on every process in the cgroup and below is bound by `program` (plan/device-rules.ts) when it opens or makes
 * a device node; what is open already stays open. The attachment keeps the program and goes with the cgroup.
 * `cgroupFd` is borrowed. @throws ContainerError with SyscallError as cause: EPERM without the right to bpf(2).
 */
export function attachDeviceRules(cgroupFd: HostFd, program: Uint8Array): void {
  try {
    const programFd = loadProgram(program);
    try {
      // ALLOW_MULTI: programs of the cgroups above and below count as well, all of them must allow. Without it nobody
      // in the container could attach one (a nested runtime, systemd); with ALLOW_OVERRIDE theirs would replace ours.
      // union bpf_attr { u32 target_fd, attach_bpf_fd, attach_type, attach_flags }
      const attr = new Uint8Array(Uint32Array.of(cgroupFd, programFd, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI).buffer);
      syscall('bpf', [BPF_PROG_ATTACH, attr, attr.length]);
    } finally {
      closeSync(programFd);
    }
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new ContainerError("the device rules can't be enforced: the kernel refuses their eBPF program", {
      cause: error,
      hint: error.code === 'EPERM' ? whyForbidden() : undefined,
      specPointer: '/linux/resources/devices',
    });
  }
}

/** BPF_PROG_LOAD. The result is owned by the caller, close-on-exec. The second try is for the verifier's reasons. */
function loadProgram(program: Uint8Array): HostFd {
  const log = Buffer.alloc(65536);
  const load = (logSize: number) =>
    shim('tinyctr_bpf_prog_load', [BPF_PROG_TYPE_CGROUP_DEVICE, program, program.length / 8, LICENSE, log, logSize]);
  const fd = load(0);
  if (fd >= 0) return fd as HostFd;
  const again = load(log.length);
  if (again >= 0) return again as HostFd;
  const said = log.toString('latin1', 0, log.indexOf(0)).trim().split('\n').slice(-3).join(' / ');
  const attr = `prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt=${program.length / 8}${said && `, log_buf=${JSON.stringify(said)}`}`;
  throw new SyscallError({ syscall: 'bpf', call: `bpf(BPF_PROG_LOAD, {${attr}})`, errno: -fd, side: 'host' });
}

/** CAP_NET_ADMIN 12, CAP_SYS_ADMIN 21, CAP_BPF 39; those that a user namespace gives do not count for bpf(2). */
function whyForbidden(): string | undefined {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1] ?? 0}`);
  const has = (capability: bigint) => (effective & (1n << capability)) !== 0n;
  if (!has(21n) && !(has(12n) && has(39n)))
    return 'tinyctr has neither CAP_SYS_ADMIN nor CAP_BPF with CAP_NET_ADMIN (CapEff in /proc/self/status): run it as root';
  if (/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'))) return undefined;
  return "tinyctr is in a user namespace, and bpf(2) asks for the host's capabilities: run it as the host's root";
}
