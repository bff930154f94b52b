/** Reads a host's facts from the kernel, by trying where that is harmless: everything that is made is gone again at once. Host side. */
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, dirname } from 'node:path';
import { readMountinfo } from '../../core/host/mountinfo.ts';
import { nativeFolder } from '../../core/host/syscall.ts';
import { capabilitiesIn } from '../../core/plan/capabilities.ts';
import { libseccompVersion } from '../../seccomp/compile.ts';
import * as attempt from './attempts.ts';
import type { HostFacts, Tried } from './facts.ts';

/** `root` and `runRoot` are tinyctr's folders. Throws nothing: what can't be read is told as such. */
export function gatherFacts(root: string, runRoot: string): HostFacts {
  const isRoot = process.geteuid!() === 0;
  const built = ['libtinyctr.so', 'stage', 'init'].every((name) => existsSync(`${nativeFolder}/${name}`));
  const asRoot = (act: () => Tried): Tried =>
    !built ? 'not tried: native-shim is not built' : isRoot ? act() : 'needs root';
  const store = place(root);
  const run = place(runRoot);
  return {
    root: isRoot,
    kernel: release(),
    arch: process.arch,
    node: process.version,
    capabilities: capabilitiesIn(
      BigInt(`0x${/^CapEff:\t(\w+)$/m.exec(readText('/proc/self/status') ?? '')?.[1] ?? '0'}`),
    ),
    cgroup: cgroup(asRoot),
    namespaces: Object.fromEntries(
      Object.keys(attempt.namespaceTypes).map((type) => [
        type,
        type === 'user' && built ? attempt.namespace(type) : asRoot(() => attempt.namespace(type)),
      ]),
    ),
    sysctls: Object.fromEntries(
      sysctlNames.map((name) => [name, readText(`/proc/sys/${name.replaceAll('.', '/')}`)?.trim()]),
    ),
    overlay: asRoot(() => attempt.overlay(store.existing)),
    overlayInUserNamespace: asRoot(attempt.overlayInUserNamespace),
    overlayDefaults: Object.fromEntries(
      ['index', 'metacopy', 'redirect_dir'].map((name) => [
        name,
        readText(`/sys/module/overlay/parameters/${name}`)?.trim(),
      ]),
    ),
    idmappedMounts: asRoot(() => attempt.idmappedMount(store.existing)),
    seccomp: built ? attempt.seccomp() : 'not tried: native-shim is not built',
    libseccomp: libseccompVersion(),
    lsm: securityModules(),
    subordinate: { uid: idsOf('/etc/subuid'), gid: idsOf('/etc/subgid') },
    store: { ...store, ...mountFlags(store.existing) },
    run,
    tools: Object.fromEntries(toolNames.map((name) => [name, findProgram(name)])),
    registered: registered(),
    built,
  };
}

const sysctlNames = [
  ...['user', 'mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup', 'time'].map((type) => `user.max_${type}_namespaces`),
  ...['kernel.unprivileged_userns_clone', 'kernel.apparmor_restrict_unprivileged_userns', 'kernel.keys.maxkeys'],
  ...['kernel.keys.root_maxkeys', 'kernel.pid_max', 'net.ipv4.ip_forward'],
];

const toolNames = [
  'newuidmap',
  'newgidmap',
  'nft',
  'iptables',
  'runc',
  'crun',
  'podman',
  'docker',
  'containerd',
  'nerdctl',
];

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function cgroup(asRoot: (act: () => Tried) => Tried): HostFacts['cgroup'] {
  const mounts = readMountinfo('self').filter(({ mountPoint }) => mountPoint.startsWith('/sys/fs/cgroup'));
  const folder = mounts.findLast(({ fstype }) => fstype === 'cgroup2')?.mountPoint;
  const names = new Set(
    (readText('/proc/cgroups') ?? '')
      .split('\n')
      .slice(1)
      .map((line) => line.split('\t')[0]!),
  );
  const v1 = mounts
    .filter(({ fstype }) => fstype === 'cgroup')
    .flatMap(({ superOptions, mountPoint }) =>
      superOptions.filter((option) => names.has(option)).map((name): [string, string] => [name, mountPoint]),
    );
  const controllers = folder ? (readText(`${folder}/cgroup.controllers`) ?? '').split(/\s+/).filter(Boolean) : [];
  const tried = { made: 'needs root', kill: 'needs root', devices: 'needs root' };
  asRoot(() => {
    Object.assign(
      tried,
      folder ? attempt.cgroup(folder) : { made: 'not tried', kill: 'not tried', devices: 'not tried' },
    );
    return '';
  });
  return { ...(folder ? { folder } : {}), controllers, v1: Object.fromEntries(v1), ...tried };
}

/** Source: the kernel's LSM documentation: /sys/kernel/security/lsm. */
function securityModules(): string[] | undefined {
  return readText('/sys/kernel/security/lsm')?.trim().split(',').filter(Boolean);
}

/** Ids that /etc/subuid gives to tinyctr, or to containers. Source: subuid(5). */
function idsOf(file: string): number | undefined {
  const lines = (readText(file) ?? '').split('\n').map((line) => line.split(':'));
  for (const owner of ['tinyctr', 'containers']) {
    const counts = lines
      .filter(([name, , count]) => name === owner && /^\d+$/.test(count ?? ''))
      .map((line) => Number(line[2]));
    if (counts.length > 0) return counts.reduce((a, b) => a + b);
  }
  return undefined;
}

interface Place {
  path: string;
  existing: string;
  fstype: string;
  freeBytes: number;
  freeInodes: number;
  writable: Tried;
}

/** A folder that may not be there yet, and the file system that it would be on. */
function place(path: string): Place {
  let existing = path;
  while (!existsSync(existing) && existing !== '/') existing = dirname(existing);
  const { bavail, bsize, ffree, files } = statfsSync(existing);
  return {
    ...{ path, existing, fstype: mountOf(existing)?.fstype ?? 'unknown', freeBytes: bavail * bsize },
    freeInodes: files === 0 ? Number.MAX_SAFE_INTEGER : ffree, // btrfs counts none
    writable: writable(existing),
  };
}

/** The mount with the longest path above. */
function mountOf(path: string) {
  const above = readMountinfo('self').filter(
    ({ mountPoint }) => mountPoint === '/' || path === mountPoint || path.startsWith(`${mountPoint}/`),
  );
  return above.reduce((best, one) => (!best || one.mountPoint.length >= best.mountPoint.length ? one : best), above[0]);
}

function mountFlags(path: string): { nodev: boolean; noexec: boolean } {
  const options = mountOf(path)?.options ?? [];
  return { nodev: options.includes('nodev'), noexec: options.includes('noexec') };
}

/** By making a folder: root may write what access(2) would allow on a full or read-only disk. */
function writable(folder: string): Tried {
  try {
    accessSync(folder, constants.W_OK);
    rmSync(mkdtempSync(`${folder}/.tinyctr-doctor-`), { recursive: true });
    return 'works';
  } catch (error) {
    return (error as { code?: string }).code ?? 'fails';
  }
}

function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders
    .map((folder) => `${folder}/${name}`)
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Clients whose configuration names tinyctr-oci. */
function registered(): string[] {
  const names = (path: string) => (readText(path) ?? '').includes('tinyctr-oci');
  const podman = [
    '/usr/share/containers/containers.conf',
    '/etc/containers/containers.conf',
    ...folderFiles('/etc/containers/containers.conf.d'),
  ];
  const files = { podman, docker: ['/etc/docker/daemon.json'], containerd: ['/etc/containerd/config.toml'] };
  return Object.entries(files)
    .filter(([, paths]) => paths.some(names))
    .map(([client]) => client);
}

function folderFiles(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => `${folder}/${name}`);
  } catch {
    return [];
  }
}
