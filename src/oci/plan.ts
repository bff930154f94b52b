/** From a bundle to the plan that src/core carries out. Host side. */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { cgroupRoot } from '../core/host/cgroup.ts';
import { MOUNT_ATTR_RDONLY } from '../core/kernel/constants.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { planContainer } from '../core/plan/container.ts';
import { planMount } from '../core/plan/mounts.ts';
import type { Plan, RemountPlan } from '../core/plan/plan.ts';
import type { Mount } from '../core/spec/types.ts';
import { compiledFilter } from '../seccomp/cache.ts';
import { parseCpuList, planScheduling } from '../spec/scheduling.ts';
import type { Spec } from '../spec/types.ts';
import type { Bundle } from './config.ts';
import { namespaceOf } from './cross-checks.ts';
import { checkMountLabel, planLabels } from './labels.ts';
import { inFirstUserNamespace, throughLinks, withUnnamedFlags } from './mounts.ts';

/** CapPrm of /proc/self/status. */
export function permittedCapabilities(): bigint {
  return BigInt(`0x${/^CapPrm:\t([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]}`);
}

/**
 * `filters`: a folder that keeps compiled filters; without it nothing is written at all.
 * @throws ContainerError with the JSON pointer of the field that can't be carried out
 */
export function planBundle(bundle: Bundle, id: string, filters: string | undefined, permitted: bigint): Plan {
  const { spec, rootfs } = bundle;
  checkSharedNamespaces(spec);
  checkDeadlineCpus(spec);
  const cgroupPath = cgroupPathOf(spec, id);
  const { seccomp, namespaces } = spec.linux ?? {};
  const ownCgroups = namespaces?.some(({ type }) => type === 'cgroup');
  const inUser = namespaces?.some(({ type }) => type === 'user') || !inFirstUserNamespace();
  const mounts = throughLinks(spec.mounts ?? [], rootfs)
    .map((mount) => withUnnamedFlags(mount, inUser))
    .map((mount) => (ownCgroups ? mount : cgroupAsBind(mount, cgroupPath)))
    .map((mount) => labelled(mount, spec.linux?.mountLabel));
  const size = spec.process?.consoleSize;
  const filter = seccomp && compiledFilter(seccomp, filters);
  const scheduling = planScheduling(spec.process!, spec.linux, false);
  const labels = planLabels(spec.process!);
  checkMountLabel(spec.linux ?? {});
  const plan = planContainer(
    {
      id,
      spec: { ...withoutPtmx(spec), mounts },
      root: { target: rootfs, source: { kind: 'directory', path: rootfs } },
      cgroupPath,
      ...(filter ? { seccomp: { program: filter.program, flags: filter.loadFlags } } : {}),
      scheduling,
      ...(labels.length > 0 ? { labels } : {}),
      ...(size ? { terminal: { rows: size.height, columns: size.width } } : {}),
    },
    { permittedCapabilities: permitted },
  );
  // Every controller, as runc: clients read a container's statistics from its cgroup, whatever its limits are.
  return { ...writableDev(plan), cgroup: { ...plan.cgroup, everyController: true, reuse: true } };
}

/** Source: sched_setattr(2), EPERM. In runc's words. */
function checkDeadlineCpus({ process, linux }: Spec): void {
  const cpus = process?.scheduler?.policy === 'SCHED_DEADLINE' && linux?.resources?.cpu?.cpus;
  const online = parseCpuList(readFileSync('/sys/devices/system/cpu/online', 'utf8'));
  const given = cpus && parseCpuList(cpus);
  if (!given || online?.every((bits, i) => (bits & ~(given[i] ?? 0)) === 0)) return;
  throw new ContainerError(
    `process scheduler can't be used together with AllowedCPUs: SCHED_DEADLINE wants all processors, and cpu.cpus is ${cpus}`,
    { specPointer: '/process/scheduler/policy' },
  );
}

/** A new file system on /dev that is to be read-only takes the devices first. */
function writableDev(plan: Plan): Plan {
  const dev = plan.mounts.findLast(({ target }) => target === '/dev');
  if (dev?.kind !== 'filesystem' || !(dev.attributes & MOUNT_ATTR_RDONLY)) return plan;
  const writable = { ...dev, attributes: dev.attributes & ~MOUNT_ATTR_RDONLY };
  const readonly = planMount(
    { destination: '/dev', options: ['remount', 'ro'] },
    Number(dev.specPointer.split('/')[2]),
  );
  return {
    ...plan,
    mounts: plan.mounts.map((mount) => (mount === dev ? writable : mount)),
    lateRemounts: [readonly as RemountPlan],
  };
}

/** An absolute cgroupsPath counts from the root of the v2 hierarchy; a relative one, and none, from /tinyctr-oci. */
export function cgroupPathOf(spec: Spec, id: string): string {
  const wanted = spec.linux?.cgroupsPath || id;
  const parts = wanted.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || parts.length === 0)
    throw new ContainerError(`cgroupsPath is ${JSON.stringify(wanted)}; it must name a cgroup, without ".."`, {
      specPointer: '/linux/cgroupsPath',
    });
  return `/${(wanted.startsWith('/') ? parts : ['tinyctr-oci', ...parts]).join('/')}`;
}

/** Without a cgroup namespace a new cgroup2 would show the host's whole tree: the container gets its own branch of it. */
function cgroupAsBind(mount: Mount, cgroupPath: string): Mount {
  if (mount.type !== 'cgroup' && mount.type !== 'cgroup2') return mount;
  return { ...mount, type: 'bind', source: cgroupRoot() + cgroupPath, options: ['bind', ...(mount.options ?? [])] };
}

/** /dev/ptmx is a link into the container's own devpts, whatever node a privileged one was given with the host's others. */
function withoutPtmx(spec: Spec): Spec {
  const devices = spec.linux?.devices?.filter(({ path }) => resolve(path) !== '/dev/ptmx');
  return devices === undefined ? spec : { ...spec, linux: { ...spec.linux, devices } };
}

/** Files of a new filesystem get the container's SELinux label, where the kernel lets the mount say so. */
function labelled(mount: Mount, label: string | undefined): Mount {
  const { type = 'bind', options = [] } = mount;
  const own = ['bind', 'none', 'proc', 'sysfs', 'mqueue', 'cgroup', 'cgroup2'].includes(type);
  if (!label || own || options.some((option) => /^(r?bind|remount)$|context=/.test(option))) return mount;
  return { ...mount, options: [...options, `context=${label}`] };
}

/** A namespace joined by path may be the host's own: then names and settings would be the host's. */
function checkSharedNamespaces({ linux = {}, hostname, domainname }: Spec): void {
  for (const [index, { type, path }] of (linux.namespaces ?? []).entries()) {
    const file = { uts: 'uts', network: 'net', ipc: 'ipc' }[type as string];
    if (!path || !file || inodeOf(path) !== inodeOf(`/proc/self/ns/${file}`)) continue;
    const settings = Object.keys(linux.sysctl ?? {}).filter((key) => namespaceOf(key) === type);
    if (type === 'uts' && (hostname ?? domainname) !== undefined) settings.push('hostname or domainname');
    if (settings.length > 0)
      throw new ContainerError(
        `${path} is the host's own ${type} namespace: ${settings.join(', ')} would change the host`,
        {
          specPointer: `/linux/namespaces/${index}/path`,
        },
      );
  }
}

/** Undefined where it can't be said; opening it will say why. */
function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}
