/** What the probe shall try inside: a letter and a path a line; native-shim/probe.c says what the letters mean. Host side, reads /proc/sys only. */
import { readdirSync, statSync } from 'node:fs';
import type { Spec } from '../../spec/types.ts';

/** Where the probe, its tasks and device nodes are in the container. */
export const probeFolder = '/.tinyctr-compare';

/** Usual places of masked and read-only paths, whether config.json names them or not. */
const watched = [
  ...['/proc/acpi', '/proc/asound', '/proc/bus', '/proc/fs', '/proc/interrupts', '/proc/irq', '/proc/kcore'],
  ...['/proc/kallsyms', '/proc/keys', '/proc/kmsg', '/proc/latency_stats', '/proc/sched_debug', '/proc/scsi'],
  ...['/proc/sys', '/proc/sysrq-trigger', '/proc/timer_list', '/proc/timer_stats', '/proc/version', '/sys'],
  ...['/sys/devices/virtual/powercap', '/sys/firmware', '/sys/fs/cgroup', '/sys/kernel/debug', '/proc/1/environ'],
];

/** Opened for writing, without writing: never anything that acts on being opened. */
const written = [
  ...[
    '/proc/sysrq-trigger',
    '/proc/sys/kernel/hostname',
    '/proc/sys/kernel/core_pattern',
    '/proc/irq/default_smp_affinity',
  ],
  ...['/proc/sys/net/ipv4/ip_forward', '/proc/sys/vm/drop_caches', '/sys/fs/cgroup/cgroup.procs', '/proc/timer_list'],
  ...['/sys/kernel/mm/transparent_hugepage/enabled', '/proc/self/oom_score_adj', '/proc/self/attr/exec', '/etc/passwd'],
];

/** kernel.* and fs.* that belong to the ipc and uts namespaces; those of the net namespace are found. */
const namespaced = [
  ...[
    'hostname',
    'domainname',
    'msgmax',
    'msgmnb',
    'msgmni',
    'sem',
    'shmall',
    'shmmax',
    'shmmni',
    'shm_rmid_forced',
  ].map((name) => `kernel/${name}`),
  ...['msg_default', 'msg_max', 'msgsize_default', 'msgsize_max', 'queues_max'].map((name) => `fs/mqueue/${name}`),
];

/** Numbers that change by themselves. */
const moving = /_count$|_size_hint$|random|fastopen_key$|\/route\/flush$|stable_secret$|ipfrag_time_left$/;

/** Device nodes of the probe's own, each allowed or refused by the cgroup's device rules: type, major, minor. */
export const probedDevices: readonly (readonly [type: 'c' | 'b', major: number, minor: number])[] = [
  ...([3, 5, 7, 8, 9, 2, 99].map((minor) => ['c', 1, minor]) as ['c', number, number][]),
  ...([0, 1, 2].map((minor) => ['c', 5, minor]) as ['c', number, number][]),
  ...(['c 10 200', 'c 10 229', 'c 136 0', 'c 250 99', 'b 7 255', 'b 259 1048575'].map((text) => {
    const [type, major, minor] = text.split(' ');
    return [type, Number(major), Number(minor)];
  }) as ['c' | 'b', number, number][]),
];

export const deviceFile = (type: string, major: number, minor: number): string => `dev/${type}-${major}-${minor}`;

/** The text of the probe's file. Paths with a line break are left out. */
export function probeTasks(spec: Spec): string {
  const { maskedPaths = [], readonlyPaths = [], sysctl = {} } = spec.linux ?? {};
  const settings = [...namespaced, ...networkSettings(), ...Object.keys(sysctl).map((key) => key.replaceAll('.', '/'))];
  const devices = probedDevices.map((device) => `${probeFolder}/${deviceFile(...device)}`);
  const lines = [
    ...unique([...watched, ...maskedPaths, ...readonlyPaths]).map((path) => `r ${path}`),
    ...unique([...written, ...maskedPaths, ...readonlyPaths]).map((path) => `w ${path}`),
    ...devices.flatMap((path) => [`o ${path}`, `w ${path}`]),
    ...unique(settings).map((name) => `c /proc/sys/${name}`),
    ...['/proc/self/setgroups', '/proc/self/timerslack_ns', '/proc/self/loginuid'].map((path) => `c ${path}`),
  ];
  return lines
    .filter((line) => !line.includes('\n'))
    .map((line) => `${line}\n`)
    .join('');
}

const unique = (list: readonly string[]): string[] => [...new Set(list)];

/** Files of the host's /proc/sys/net: a container's network namespace has the same, but for interfaces. */
function networkSettings(): string[] {
  return below('net').filter(
    (name) =>
      !moving.test(name) && !/\/(conf|neigh)\/(?!all\/|default\/|lo\/)/.test(name) && !name.startsWith('net/unix/x'),
  );
}

function below(folder: string): string[] {
  try {
    return readdirSync(`/proc/sys/${folder}`).flatMap((name) => {
      const path = `${folder}/${name}`;
      return statSync(`/proc/sys/${path}`).isDirectory() ? below(path) : [path];
    });
  } catch {
    return []; // no such kernel option
  }
}
