/** The config.json that `spec` writes: a shell at a terminal, with few capabilities and everything of its own. */
import type { Spec } from '../spec/types.ts';
import { specVersion } from './globals.ts';

const capabilities = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'];
const own = ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'] as const;

export const defaultSpec: Spec = {
  ociVersion: specVersion,
  process: {
    terminal: true,
    user: { uid: 0, gid: 0 },
    args: ['sh'],
    env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
    cwd: '/',
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
    noNewPrivileges: true,
  },
  root: { path: 'rootfs', readonly: true },
  hostname: 'tinyctr',
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
    },
  ],
  linux: {
    resources: { devices: [{ allow: false, access: 'rwm' }] },
    namespaces: own.map((type) => ({ type })),
    maskedPaths: [
      '/proc/acpi',
      '/proc/asound',
      '/proc/kcore',
      '/proc/keys',
      '/proc/latency_stats',
      '/proc/timer_list',
      '/proc/timer_stats',
      '/proc/sched_debug',
      '/sys/firmware',
      '/proc/scsi',
    ],
    readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
  },
};

/**
 * The same for a caller who is not root: the caller is the container's root, and nobody else has an id there. So there is no
 * group for terminals, no network namespace (sysfs would want one of the same user namespace: /sys is the host's), and no limits.
 */
export function rootlessSpec(): Spec {
  const { network, ...kept } = Object.fromEntries(own.map((type) => [type, { type }]));
  const sys = {
    destination: '/sys',
    type: 'none',
    source: '/sys',
    options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'],
  };
  const spec = structuredClone(defaultSpec);
  const { resources, ...linux } = spec.linux!;
  return {
    ...spec,
    mounts: spec.mounts!.map((mount) => {
      if (mount.destination === '/sys') return sys;
      return {
        ...mount,
        ...(mount.options && { options: mount.options.filter((option) => !/^[gu]id=/.test(option)) }),
      };
    }),
    linux: {
      ...linux,
      namespaces: [...Object.values(kept), { type: 'user' }],
      uidMappings: [{ containerID: 0, hostID: process.geteuid!(), size: 1 }],
      gidMappings: [{ containerID: 0, hostID: process.getegid!(), size: 1 }],
    },
  };
}
