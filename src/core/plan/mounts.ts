/** Mount entries of the spec in the kernel's terms. Pure. Source: runtime-spec config.md "Mounts", mount(8), mount_setattr(2). */
import * as k from '../kernel/constants.ts';
import { ContainerError } from '../kernel/error.ts';
import type { Mount } from '../spec/types.ts';
import type { IdMaps, MountPlan } from './plan.ts';

const attributes: Record<string, { set?: number; clear?: number } | undefined> = {
  __proto__: null as never, // so that "constructor" is no option
  ro: { set: k.MOUNT_ATTR_RDONLY },
  rw: { clear: k.MOUNT_ATTR_RDONLY },
  nosuid: { set: k.MOUNT_ATTR_NOSUID },
  suid: { clear: k.MOUNT_ATTR_NOSUID },
  nodev: { set: k.MOUNT_ATTR_NODEV },
  dev: { clear: k.MOUNT_ATTR_NODEV },
  noexec: { set: k.MOUNT_ATTR_NOEXEC },
  exec: { clear: k.MOUNT_ATTR_NOEXEC },
  nodiratime: { set: k.MOUNT_ATTR_NODIRATIME },
  diratime: { clear: k.MOUNT_ATTR_NODIRATIME },
  nosymfollow: { set: k.MOUNT_ATTR_NOSYMFOLLOW },
  symfollow: { clear: k.MOUNT_ATTR_NOSYMFOLLOW },
  relatime: { set: k.MOUNT_ATTR_RELATIME, clear: k.MOUNT_ATTR__ATIME },
  atime: { set: k.MOUNT_ATTR_RELATIME, clear: k.MOUNT_ATTR__ATIME },
  noatime: { set: k.MOUNT_ATTR_NOATIME, clear: k.MOUNT_ATTR__ATIME },
  strictatime: { set: k.MOUNT_ATTR_STRICTATIME, clear: k.MOUNT_ATTR__ATIME },
  // what the kernel does when it is told neither
  norelatime: { set: k.MOUNT_ATTR_RELATIME, clear: k.MOUNT_ATTR__ATIME },
  nostrictatime: { set: k.MOUNT_ATTR_RELATIME, clear: k.MOUNT_ATTR__ATIME },
};

const propagations: Record<string, number> = {
  __proto__: null as never,
  private: k.MS_PRIVATE,
  slave: k.MS_SLAVE,
  shared: k.MS_SHARED,
  unbindable: k.MS_UNBINDABLE,
};

/** Flags of the superblock: fsconfig takes them by name, a bind has none of its own. */
const superblockFlags = new Set(['sync', 'dirsync', 'lazytime', 'mand']);
const meaningless = new Set([
  ...['defaults', 'async', 'nolazytime', 'nomand', 'bind', 'rbind', 'remount'],
  // fsconfig knows neither: filesystems that can count versions do, and messages go to the caller
  ...['iversion', 'noiversion', 'silent', 'loud', 'acl', 'noacl'],
]);

/** All that is no option of one filesystem alone, as `features` announces it. */
export function mountOptionNames(): string[] {
  const both = [...Object.keys(attributes), ...Object.keys(propagations)].flatMap((name) => [name, `r${name}`]);
  return [...both, ...superblockFlags, ...meaningless, 'tmpcopyup', 'idmap', 'ridmap'].sort();
}

interface Options {
  set: number;
  clear: number;
  attributesRecursive: boolean;
  propagation: number;
  propagationRecursive: boolean;
  parameters: [string, string | null][];
  idMap?: 'idmap' | 'ridmap';
}

export function parseMountOptions(options: readonly string[]): Options {
  const parsed: Options = {
    set: 0,
    clear: 0,
    attributesRecursive: false,
    propagation: 0,
    propagationRecursive: false,
    parameters: [],
  };
  for (const option of options) {
    const name =
      option.startsWith('r') && (option.slice(1) in attributes || option.slice(1) in propagations)
        ? option.slice(1)
        : option;
    const attribute = attributes[name];
    if (attribute) {
      parsed.set = (parsed.set & ~(attribute.clear ?? 0)) | (attribute.set ?? 0);
      parsed.clear = (parsed.clear & ~(attribute.set ?? 0)) | (attribute.clear ?? 0);
      parsed.attributesRecursive ||= name !== option;
    } else if (propagations[name]) {
      parsed.propagation = propagations[name];
      parsed.propagationRecursive = name !== option;
    } else if (option === 'idmap' || option === 'ridmap') parsed.idMap = option;
    else if (!meaningless.has(option)) {
      const equals = option.indexOf('=');
      parsed.parameters.push(equals < 0 ? [option, null] : [option.slice(0, equals), option.slice(equals + 1)]);
    }
  }
  return parsed;
}

/** Destinations below /proc that a bind may cover: what lxcfs and its kin provide. Everything else there is refused (CVE-2019-16884). */
const procFiles = [
  'cpuinfo',
  'diskstats',
  'meminfo',
  'stat',
  'swaps',
  'uptime',
  'loadavg',
  'slabinfo',
  'net/dev',
  'sys/kernel/ns_last_pid',
  'sys/crypto/fips_enabled',
];

function checkDestination(target: string, specPointer: string): void {
  const below = /^\/proc\/(.*)$/.exec(target)?.[1];
  if (below === undefined && target !== '/proc') return;
  if (below !== undefined && procFiles.includes(below)) return;
  throw new ContainerError(`a bind mount on ${target} is refused: it could redirect what is written to /proc`, {
    specPointer,
    hint: `below /proc, only these can be covered: ${procFiles.join(', ')}`,
  });
}

/** Throws ContainerError with the JSON pointer for what the kernel could not be told. Maps of a mount's own go to `idMaps`. */
export function planMount(mount: Mount, index: number, idMaps: IdMaps[] = []): MountPlan {
  const specPointer = `/mounts/${index}`;
  const options = mount.options ?? [];
  const { parameters, idMap, ...parsed } = parseMountOptions(options);
  const parts = mount.destination.split('/').filter((part) => part !== '' && part !== '.');
  const target = `/${parts.join('/')}`;
  if (parts.includes('..'))
    throw new ContainerError(`the mount destination ${mount.destination} contains ".."`, { specPointer });
  if (options.includes('remount')) {
    const kept = parameters[0]?.[0] ?? idMap ?? (mount.uidMappings && 'uidMappings');
    if (kept === undefined) return { kind: 'remount', target, ...parsed, specPointer };
    const at = { specPointer: `${specPointer}/options` };
    throw new ContainerError(`a remount changes flags of the mount on ${target}, not ${kept}`, at);
  }
  if (mount.type !== 'bind' && !options.includes('bind') && !options.includes('rbind')) {
    if (!mount.type)
      throw new ContainerError(`the mount on ${target} has no type and is no bind mount`, {
        specPointer: `${specPointer}/type`,
      });
    return {
      kind: 'filesystem',
      target,
      fstype: mount.type === 'cgroup' ? 'cgroup2' : mount.type,
      source: mount.source ?? 'none',
      parameters,
      attributes: parsed.set,
      propagation: parsed.propagation,
      specPointer,
    };
  }
  checkDestination(target, specPointer);
  const unknown = parameters.find(([key]) => !superblockFlags.has(key));
  if (unknown)
    throw new ContainerError(`mount option "${unknown[0]}" means nothing for a bind mount`, {
      specPointer: `${specPointer}/options`,
      hint: `known are ${Object.keys(attributes).join(', ')}, the same with r for recursive, and the propagations`,
    });
  if (!mount.source?.startsWith('/'))
    throw new ContainerError(`the source of the bind mount on ${target} must be an absolute path`, {
      specPointer: `${specPointer}/source`,
    });
  const { uidMappings: uid, gidMappings: gid } = mount;
  const own = uid && gid && idMaps.push({ uid, gid }) - 1;
  const mapped = (idMap || own !== undefined) && { idMap: own ?? 0, idMapRecursive: idMap === 'ridmap' };
  const recursive = options.includes('rbind');
  return { kind: 'bind', target, source: mount.source, recursive, ...parsed, ...mapped, specPointer };
}

export function propagationOf(name: string | undefined): number {
  if (name === undefined) return 0;
  const flag = propagations[name] ?? (name.startsWith('r') ? propagations[name.slice(1)] : undefined);
  if (!flag)
    throw new ContainerError(
      `rootfsPropagation is ${JSON.stringify(name)}; allowed are ${Object.keys(propagations).join(', ')}`,
      {
        specPointer: '/linux/rootfsPropagation',
      },
    );
  return flag;
}
