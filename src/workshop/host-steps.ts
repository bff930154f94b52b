/**
 * What the host's side does before init's first call, and why: told from the plan, in the order of
 * src/core/container/launch.ts. Files are node:fs calls there, shown as the system call they are. Pure.
 */
import * as k from '../core/kernel/constants.ts';
import type { IdMaps, Plan } from '../core/plan/plan.ts';
import type { Step } from '../core/stage/stage.ts';
import { deviceProgramInWords } from './device-words.ts';
import { cloneFlags } from './host-calls.ts';

export interface HostStep {
  step: Step;
  calls: string[];
}

export const cloneNames = (flags: number): string =>
  Object.entries(k)
    .filter(([name, bits]) => name.startsWith('CLONE_NEW') && (flags & Number(bits)) !== 0)
    .map(([name]) => name)
    .join('|') || '0';

const write = (path: string, text: string): string => `write(${JSON.stringify(path)}, ${JSON.stringify(text)})`;

/** `cgroups` is where the v2 hierarchy is mounted. */
export function hostSteps(plan: Plan, cgroups: string): HostStep[] {
  const steps = [...joined(plan), ...plan.idMaps.map(userNamespace), cgroup(plan, cgroups), devices(plan), birth(plan)];
  return steps.filter(({ calls }) => calls.length > 0);
}

function joined({ namespaces }: Plan): HostStep[] {
  const step: Step = {
    id: 'host.namespaces',
    why: 'namespaces of others are opened by path, and the kernel is asked of what type each is',
    without: 'a wrong path would be found out half way, or not at all',
    see: ['ioctl_nsfs(2): NS_GET_NSTYPE', 'config-linux.md: Namespaces'],
  };
  const calls = namespaces.join.flatMap(({ path, flag }) => [
    `openat(AT_FDCWD, ${JSON.stringify(path)}, O_RDONLY|O_CLOEXEC)`,
    `ioctl(fd, NS_GET_NSTYPE) = ${cloneNames(flag)}`,
  ]);
  return [{ step, calls }];
}

function userNamespace(maps: IdMaps): HostStep {
  const lines = (kind: 'uid' | 'gid') =>
    maps[kind].map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('');
  const step: Step = {
    id: 'host.id-maps',
    why: 'a user namespace is made by a process that does nothing else, its maps are written from outside, and it lives on by a descriptor',
    without: 'ids of the container would be nobody’s: no file could belong to them',
    see: ['user_namespaces(7)', 'config-linux.md: User namespace mappings'],
  };
  const calls = [
    'clone3({flags=CLONE_NEWUSER})',
    write('/proc/PID/uid_map', lines('uid')),
    write('/proc/PID/gid_map', lines('gid')),
    'openat(AT_FDCWD, "/proc/PID/ns/user", O_RDONLY|O_CLOEXEC)',
  ];
  return { step, calls };
}

function cgroup({ cgroup: { path, files } }: Plan, cgroups: string): HostStep {
  const folder = `${cgroups}${path}`;
  const step: Step = {
    id: 'host.cgroup',
    why: 'a cgroup of its own, with its limits, before the first process is born in it',
    without: 'for a moment the process would be without limits, and afterwards nobody could find all that it started',
    see: ['cgroups(7)', 'the kernel’s cgroup-v2.rst', 'config-linux.md: Control groups'],
  };
  const limits = files.flatMap(({ file, value }) => value.split('\n').map((line) => write(`${folder}/${file}`, line)));
  return { step, calls: [`mkdir(${JSON.stringify(folder)}, 0777)`, ...limits] };
}

function devices({ cgroup: { devices: rules } }: Plan): HostStep {
  const step: Step = {
    id: 'host.devices',
    why: `eBPF on the cgroup says which device nodes may be opened or made${rules ? `: ${deviceProgramInWords(rules.program).join('; ')}` : ''}`,
    without: 'with CAP_MKNOD a program could make the node of the host’s disk and read it',
    see: ['bpf(2)', 'the kernel’s cgroup-v2.rst: Device controller', 'config-linux.md: Allowed Device list'],
  };
  const count = (rules?.program.length ?? 0) / 8;
  const load = `bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt=${count}})`;
  return {
    step,
    calls: rules ? [load, 'bpf(BPF_PROG_ATTACH, {attach_type=BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI})'] : [],
  };
}

/** With a user namespace the others are made later, inside it: then they belong to it. */
function birth({ namespaces, process }: Plan): HostStep {
  const { user, join } = namespaces;
  const pid = !user && join.some(({ flag }) => flag === k.CLONE_NEWPID);
  const step: Step = {
    id: 'host.birth',
    why: 'a small program in a sealed memory file is born in the new namespaces and in the cgroup: the stage, which makes the calls below in the place of the container’s process',
    without: 'Node has many threads: it can’t enter a user namespace, and is not process 1 of a pid namespace',
    see: ['clone(2): clone3', 'memfd_create(2): file sealing', 'namespaces(7)', 'CVE-2019-5736'],
  };
  const seal = 'F_SEAL_SEAL|F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_WRITE|F_SEAL_EXEC';
  const calls = [
    'memfd_create("stage", MFD_CLOEXEC|MFD_ALLOW_SEALING|MFD_EXEC)',
    `fcntl(fd, F_ADD_SEALS, ${seal})`,
    'socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, [2])',
    ...(pid ? ['setns(fd, CLONE_NEWPID)'] : []),
    `clone3({flags=${cloneFlags(user ? k.CLONE_NEWNS : namespaces.clone, true)}, cgroup})`,
    ...(process.init ? ['memfd_create("init", MFD_CLOEXEC|MFD_ALLOW_SEALING|MFD_EXEC)'] : []),
  ];
  return { step, calls };
}
