/** From facts of a host to what they mean for a container, and what to do. Pure. */
import type { HostFacts, Tried } from './facts.ts';

/** `missing` is needed by every container; `warning` by some; `unknown` could not be looked at. */
export type Level = 'ok' | 'warning' | 'missing' | 'unknown';

export interface Finding {
  topic: string;
  level: Level;
  /** What was found. */
  fact: string;
  /** For a container. */
  means: string;
  /** What to do, to the letter where that is possible. */
  fix?: string;
}

const OLDEST_KERNEL = [5, 14] as const;
const OLDEST_NODE = [20, 19] as const;
const NOT_ROOT = 'needs root';

export function judge(facts: HostFacts): Finding[] {
  return [
    ...own(facts),
    ...cgroups(facts),
    ...namespaces(facts),
    ...userNamespaces(facts),
    ...filesystems(facts),
    ...security(facts),
    ...places(facts),
    ...tools(facts),
  ];
}

/** Something that every container needs is not there. */
export const canMakeContainers = (findings: readonly Finding[]): boolean =>
  findings.every(({ level }) => level !== 'missing');

function versionAtLeast(text: string, [major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = text
    .replace(/^v/, '')
    .split('.')
    .map((part) => Number.parseInt(part, 10));
  return a > major || (a === major && b >= minor);
}

/** A result of trying: works, was not tried, or failed with `bad` and its fix. */
function tried(
  topic: string,
  result: Tried,
  means: string,
  bad: Pick<Finding, 'level' | 'fix'> & { means: string },
): Finding {
  if (result === 'works') return { topic, level: 'ok', fact: 'tried: it works', means };
  if (result === NOT_ROOT || result.startsWith('not tried'))
    return { topic, level: 'unknown', fact: result === NOT_ROOT ? 'not tried: that needs root' : result, means };
  return { topic, fact: `tried: ${result}`, ...bad };
}

function own({ kernel, node, root, capabilities, built, arch }: HostFacts): Finding[] {
  const needed = [
    'CAP_SYS_ADMIN',
    'CAP_SYS_CHROOT',
    'CAP_MKNOD',
    'CAP_SETUID',
    'CAP_SETGID',
    'CAP_SETPCAP',
    'CAP_CHOWN',
    'CAP_DAC_OVERRIDE',
    'CAP_NET_ADMIN',
  ];
  const lacking = needed.filter((name) => !capabilities.includes(name));
  const rights: Finding = !root
    ? {
        topic: 'root',
        level: 'unknown',
        fact: 'this is not root',
        means: 'tinyctr run and tinyctr-oci need root; what only root can try was not looked at',
        fix: 'sudo tinyctr doctor',
      }
    : lacking.length > 0
      ? {
          topic: 'root',
          level: 'missing',
          fact: `root, but without ${lacking.join(', ')}`,
          means: 'namespaces, mounts or ids of a container can’t be made',
          fix: 'start this shell with these capabilities: CapBnd in /proc/self/status shows what it may have (in a container: --privileged)',
        }
      : {
          topic: 'root',
          level: 'ok',
          fact: 'root, with the capabilities that are needed',
          means: 'namespaces, mounts and cgroups can be made',
        };
  return [
    rights,
    ...(root && lacking.length === 0 && !capabilities.includes('CAP_SYS_RESOURCE')
      ? [
          {
            topic: 'raising limits',
            level: 'warning' as const,
            fact: 'root has no CAP_SYS_RESOURCE',
            means:
              'a hard limit (--ulimit, rlimits of config.json) above the present one is refused; crun can’t start at all',
            fix: 'start this shell with CAP_SYS_RESOURCE',
          },
        ]
      : []),
    versionAtLeast(kernel, OLDEST_KERNEL)
      ? {
          topic: 'kernel',
          level: 'ok',
          fact: `Linux ${kernel}`,
          means: `${OLDEST_KERNEL.join('.')} or newer is needed, for cgroup.kill`,
        }
      : {
          topic: 'kernel',
          level: 'missing',
          fact: `Linux ${kernel}`,
          means: `${OLDEST_KERNEL.join('.')} or newer is needed: nothing runs`,
          fix: `boot a kernel of ${OLDEST_KERNEL.join('.')} or newer`,
        },
    ['x64', 'arm64'].includes(arch)
      ? { topic: 'processor', level: 'ok', fact: arch, means: 'x86-64 and arm64 are known' }
      : {
          topic: 'processor',
          level: 'missing',
          fact: arch,
          means: 'tinyctr knows the system calls of x86-64 and arm64 only',
          fix: 'use a machine of one of these',
        },
    versionAtLeast(node, OLDEST_NODE)
      ? { topic: 'node', level: 'ok', fact: node, means: `${OLDEST_NODE.join('.')} or newer is needed` }
      : {
          topic: 'node',
          level: 'missing',
          fact: node,
          means: `${OLDEST_NODE.join('.')} or newer is needed`,
          fix: 'install a newer Node, then npm install in tinyctr’s folder',
        },
    built
      ? { topic: 'native parts', level: 'ok', fact: 'built', means: 'the stage, the init and the library are there' }
      : {
          topic: 'native parts',
          level: 'missing',
          fact: 'native-shim is not built',
          means: 'no system call can be made',
          fix: 'apt-get install gcc libc6-dev make, then npm install in tinyctr’s folder',
        },
  ];
}

/** What a limit of docker's or OCI's needs. */
const limitsOf: Record<string, string> = {
  ...{
    memory: '--memory',
    pids: '--pids-limit',
    cpu: '--cpus',
    cpuset: '--cpuset-cpus',
    io: '--device-read-bps and --blkio-weight',
  },
};
/** v1's names for what v2 calls otherwise. */
const oldNames: Record<string, string> = { blkio: 'io', cpuacct: 'cpu' };

function cgroups({ cgroup, root }: HostFacts): Finding[] {
  const { folder, controllers, v1 } = cgroup;
  if (folder === undefined)
    return [
      {
        topic: 'cgroup layout',
        level: 'missing',
        fact: `cgroup v2 is not mounted below /sys/fs/cgroup${Object.keys(v1).length > 0 ? ', cgroup v1 is' : ''}`,
        means: 'every container has a cgroup of v2: none can be made',
        fix:
          Object.keys(v1).length > 0
            ? 'boot with systemd.unified_cgroup_hierarchy=1; until then: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified'
            : 'mount -t cgroup2 none /sys/fs/cgroup',
      },
    ];
  const isHybrid = Object.keys(v1).length > 0;
  const layout: Finding = isHybrid
    ? {
        topic: 'cgroup layout',
        level: 'warning',
        fact: `hybrid: cgroup v2 at ${folder}, and v1 beside it`,
        means: 'containers run; limits whose controllers are bound to v1 are refused by name',
        fix: 'boot with systemd.unified_cgroup_hierarchy=1',
      }
    : {
        topic: 'cgroup layout',
        level: 'ok',
        fact: `cgroup v2 alone, at ${folder}`,
        means: 'every container has a cgroup of its own there',
      };
  const lacking = Object.keys(limitsOf).filter((name) => !controllers.includes(name));
  return [
    layout,
    ...lacking.map((name) => controllerFinding(name, v1)),
    ...(controllers.length > 0
      ? [
          {
            topic: 'cgroup controllers',
            level: 'ok' as const,
            fact: controllers.join(' '),
            means: 'limits of these can be kept',
          },
        ]
      : []),
    tried('making a cgroup', cgroup.made, 'a container’s processes are held together and killed by it', {
      ...{
        level: root ? 'missing' : 'unknown',
        means: 'no container can be made',
        fix: `look at who may write ${folder} (mount options, a delegated cgroup, a container around this one)`,
      },
    }),
    tried('cgroup.kill', cgroup.kill, 'all processes of a container end at once', {
      ...{ level: 'missing', means: 'a container can’t be ended completely', fix: 'boot Linux 5.14 or newer' },
    }),
    tried('device rules', cgroup.devices, 'eBPF says which device nodes a container may open', {
      ...{
        level: 'missing',
        means: 'no container is started without device rules',
        fix: 'a kernel with CONFIG_CGROUP_BPF, and CAP_BPF with CAP_NET_ADMIN, or CAP_SYS_ADMIN, of the host’s user namespace',
      },
    }),
  ];
}

function controllerFinding(name: string, v1: Readonly<Record<string, string>>): Finding {
  const bound = Object.entries(v1).find(([old]) => (oldNames[old] ?? old) === name);
  const means = `refused: ${limitsOf[name]}; containers without it run`;
  return bound
    ? {
        topic: `cgroup controller ${name}`,
        level: 'warning',
        fact: `bound to cgroup v1 at ${bound[1]}`,
        means,
        fix: `boot with cgroup_no_v1=${bound[0]}, or systemd.unified_cgroup_hierarchy=1`,
      }
    : {
        topic: `cgroup controller ${name}`,
        level: 'warning',
        fact: 'not in cgroup v2, nor in v1',
        means,
        fix: `remove cgroup_disable=${name} from the kernel’s command line; a delegated cgroup needs Delegate=${name}`,
      };
}

const always = ['mount', 'pid', 'uts', 'ipc', 'network', 'cgroup'];

function namespaces({ namespaces: found, sysctls }: HostFacts): Finding[] {
  const works = always.filter((type) => found[type] === 'works');
  const bad = always.filter((type) => found[type] !== 'works');
  const untried = bad.filter((type) => found[type] === NOT_ROOT);
  if (untried.length === always.length)
    return [
      {
        topic: 'namespaces',
        level: 'unknown',
        fact: 'not tried: that needs root',
        means: 'every container has its own',
      },
    ];
  return [
    ...(works.length > 0
      ? [
          {
            topic: 'namespaces',
            level: 'ok' as const,
            fact: `tried: ${works.join(' ')}`,
            means: 'every container has its own',
          },
        ]
      : []),
    ...bad.map((type): Finding => {
      const name = `user.max_${{ mount: 'mnt', network: 'net' }[type] ?? type}_namespaces`;
      const none = sysctls[name] === '0';
      return {
        topic: `${type} namespaces`,
        level: 'missing',
        fact: `tried: ${found[type]}${none ? ` (${name} is 0)` : ''}`,
        means: 'no container can be made',
        fix: none ? `sysctl -w ${name}=15000` : 'use a kernel that has them; in a container, --privileged',
      };
    }),
    ...(found.time === 'works' || found.time === NOT_ROOT
      ? []
      : [
          {
            topic: 'time namespaces',
            level: 'warning' as const,
            fact: `tried: ${found.time}`,
            means: 'a config.json with a time namespace is refused',
            fix: 'use a kernel with CONFIG_TIME_NS',
          },
        ]),
  ];
}

function userNamespaces({ namespaces: { user = 'not tried' }, sysctls, subordinate, lsm }: HostFacts): Finding[] {
  const none = sysctls['user.max_user_namespaces'] === '0';
  const means = 'root in the container can be nobody outside (--userns, rootless)';
  const off = (topic: string, fact: string, fix: string, what: string): Finding => ({
    topic,
    level: 'warning',
    fact,
    means: what,
    fix,
  });
  const persistent = (name: string, value: number) =>
    `sysctl -w ${name}=${value}; to keep it: echo ${name}=${value} > /etc/sysctl.d/60-tinyctr.conf`;
  return [
    tried('user namespaces', user, means, {
      ...{ level: 'warning', means: '--userns and rootless containers are refused; others run' },
      fix: none
        ? persistent('user.max_user_namespaces', 15000)
        : 'use a kernel with CONFIG_USER_NS, and look at the findings below',
    }),
    ...(none && user === 'works'
      ? [
          off(
            'user.max_user_namespaces',
            '0',
            persistent('user.max_user_namespaces', 15000),
            'no more user namespaces can be made',
          ),
        ]
      : []),
    ...(sysctls['kernel.unprivileged_userns_clone'] === '0'
      ? [
          off(
            'kernel.unprivileged_userns_clone',
            '0',
            persistent('kernel.unprivileged_userns_clone', 1),
            'users other than root can make no user namespace: no rootless containers; those of root are not concerned',
          ),
        ]
      : []),
    ...(sysctls['kernel.apparmor_restrict_unprivileged_userns'] === '1'
      ? [
          off(
            'AppArmor’s restriction of user namespaces',
            'kernel.apparmor_restrict_unprivileged_userns is 1',
            `${persistent('kernel.apparmor_restrict_unprivileged_userns', 0)}; or give the program a profile with "userns,"`,
            'in a user namespace that a user other than root made, no capability is given: no rootless containers; those of root are not concerned',
          ),
        ]
      : []),
    ...(lsm?.includes('apparmor') && sysctls['kernel.apparmor_restrict_unprivileged_userns'] === '0'
      ? [
          {
            topic: 'AppArmor’s restriction of user namespaces',
            level: 'ok' as const,
            fact: 'kernel.apparmor_restrict_unprivileged_userns is 0',
            means: 'user namespaces of ordinary users have their capabilities',
          },
        ]
      : []),
    ...(['uid', 'gid'] as const).map((kind) => ranges(kind, subordinate[kind])),
  ];
}

function ranges(kind: 'uid' | 'gid', count: number | undefined): Finding {
  const topic = `/etc/sub${kind}`;
  if (count === undefined)
    return {
      topic,
      level: 'ok',
      fact: 'no line for tinyctr or containers',
      means: '--userns auto takes ids from 1879048192 on, 4096 containers at once',
    };
  const containers = Math.floor(count / 65536);
  return containers > 0
    ? {
        topic,
        level: 'ok',
        fact: `${count} ids for tinyctr`,
        means: `enough for ${containers} containers with --userns auto at once`,
      }
    : {
        topic,
        level: 'warning',
        fact: `${count} ids for tinyctr`,
        means: 'a container with --userns auto needs 65536: it is refused',
        fix: `echo tinyctr:1879048192:268435456 >> ${topic} (and take the shorter line out)`,
      };
}

function filesystems({
  overlay,
  overlayInUserNamespace,
  overlayDefaults,
  idmappedMounts,
  store,
}: HostFacts): Finding[] {
  const defaults = Object.entries(overlayDefaults).filter(([, value]) => value !== undefined);
  return [
    tried('overlay', overlay, 'an image’s layers are the root filesystem, without copying', {
      ...{
        level: 'missing',
        means: 'tinyctr run can’t put layers together (bundles of tinyctr-oci run)',
        fix:
          overlay === 'ENODEV'
            ? 'modprobe overlay (CONFIG_OVERLAY_FS)'
            : `${store.path} must be on a file system that overlay takes as its upper one (ext4, xfs with ftype=1, btrfs, tmpfs), given by --root or TINYCTR_ROOT`,
      },
    }),
    tried('overlay in a user namespace', overlayInUserNamespace, 'rootless containers can have layers', {
      ...{
        level: 'warning',
        means: 'rootless containers need fuse-overlayfs or copies; containers of root are not concerned',
        fix: 'Linux 5.11 or newer',
      },
    }),
    ...(defaults.length > 0
      ? [
          {
            topic: 'overlay’s defaults',
            level: 'ok' as const,
            fact: defaults.map(([name, value]) => `${name}=${value}`).join(' '),
            means: 'defaults of the module: layers are mounted with them',
          },
        ]
      : []),
    tried(
      'idmapped mounts of the store',
      idmappedMounts,
      '--userns auto sees an image’s layers with the container’s ids, without a copy',
      {
        ...{
          level: 'warning',
          means: `layers are copied for --userns auto, once for each range of ids: ${store.fstype} can’t be idmapped here`,
          fix: 'put the store (--root, TINYCTR_ROOT) on ext4, xfs or btrfs, with Linux 5.19 or newer',
        },
      },
    ),
  ];
}

function security({ seccomp, libseccomp, lsm, sysctls }: HostFacts): Finding[] {
  return [
    tried('seccomp', seccomp, 'system calls that a container has no use for are refused', {
      ...{
        level: 'missing',
        means: 'containers with the default filter are refused',
        fix: 'use a kernel with CONFIG_SECCOMP_FILTER; without a filter: --security-opt seccomp=unconfined',
      },
    }),
    libseccomp === undefined
      ? {
          topic: 'libseccomp',
          level: 'missing',
          fact: 'libseccomp.so.2 was not found',
          means: 'filters can’t be compiled: containers with one are refused',
          fix: 'apt-get install libseccomp2',
        }
      : { topic: 'libseccomp', level: 'ok', fact: libseccomp, means: 'compiles the filter, once for each profile' },
    lsm === undefined
      ? {
          topic: 'security modules',
          level: 'unknown',
          fact: 'securityfs is not mounted',
          means: 'labels of AppArmor and SELinux in a config.json are refused unless one is active',
          fix: 'mount -t securityfs securityfs /sys/kernel/security',
        }
      : {
          topic: 'security modules',
          level: 'ok',
          fact: lsm.join(', ') || 'none',
          means: lsm.some((name) => ['apparmor', 'selinux'].includes(name))
            ? 'labels of config.json are applied'
            : 'a config.json with an AppArmor or SELinux label is refused',
        },
    ...(sysctls['kernel.keys.maxkeys'] === undefined
      ? []
      : [
          {
            topic: 'keyrings',
            level: 'ok' as const,
            fact: `kernel.keys.maxkeys ${sysctls['kernel.keys.maxkeys']}, root_maxkeys ${sysctls['kernel.keys.root_maxkeys']}`,
            means: 'tinyctr makes no session keyring, so containers don’t count; runc makes one each',
          },
        ]),
  ];
}

const GIB = 2 ** 30;
/** Overlay's upper layer can't be there, or files of images lose owners and attributes. */
const poor = ['nfs', 'nfs4', 'cifs', 'smb3', 'vfat', 'exfat', 'ntfs3', 'fuse', '9p'];

function places({ store, run, root }: HostFacts): Finding[] {
  const free = `${(store.freeBytes / GIB).toFixed(1)} GiB and ${store.freeInodes} files free`;
  const at = store.existing === store.path ? store.path : `${store.path} (not made yet; ${store.existing} is there)`;
  const flags = [store.nodev ? 'nodev' : '', store.noexec ? 'noexec' : ''].filter(Boolean).join(' and ');
  const writable = (topic: string, result: Tried, path: string): Finding[] =>
    result === 'works' || !root
      ? []
      : [
          {
            topic,
            level: 'missing',
            fact: `${path} can’t be written (${result})`,
            means: 'no container can be made',
            fix:
              topic === 'store'
                ? 'remount it writable, or use --root or TINYCTR_ROOT'
                : 'remount it writable, or use --run-root or TINYCTR_RUN_ROOT',
          },
        ];
  return [
    ...writable('store', store.writable, store.existing),
    store.freeBytes < GIB / 10 || store.freeInodes < 1000
      ? {
          topic: 'room in the store',
          level: 'warning',
          fact: `${at}: ${store.fstype}, ${free}`,
          means: 'images may not fit: a pull that runs out of room is undone',
          fix: 'tinyctr image prune, or a larger disk for --root',
        }
      : {
          topic: 'room in the store',
          level: 'ok',
          fact: `${at}: ${store.fstype}, ${free}`,
          means: 'images and what containers write are there',
        },
    ...(poor.some((name) => store.fstype === name || store.fstype.startsWith(`${name}.`))
      ? [
          {
            topic: 'file system of the store',
            level: 'warning' as const,
            fact: store.fstype,
            means: 'overlay may refuse it, and owners or attributes of images’ files may be lost',
            fix: 'put the store on ext4, xfs or btrfs (--root, TINYCTR_ROOT)',
          },
        ]
      : []),
    ...(flags
      ? [
          {
            topic: 'mount of the store',
            level: 'warning' as const,
            fact: flags,
            means: 'programs or device nodes of images may not work',
            fix: `mount -o remount,${flags.replaceAll('no', '').replace(' and ', ',')} on the file system of ${store.existing}`,
          },
        ]
      : []),
    ...writable('run folder', run.writable, run.existing),
    run.fstype === 'tmpfs' || run.fstype === 'ramfs'
      ? {
          topic: 'run folder',
          level: 'ok',
          fact: `${run.path}: ${run.fstype}`,
          means: 'the state of running containers is gone after a reboot, as they are',
        }
      : {
          topic: 'run folder',
          level: 'warning',
          fact: `${run.path}: ${run.fstype}, not a tmpfs`,
          means: 'after a reboot the state of containers that ran is still there; the next command cleans it up',
          fix: 'mount -t tmpfs tmpfs /run early at boot, or give --run-root',
        },
  ];
}

function tools({ tools: found, registered }: HostFacts): Finding[] {
  const optional = (names: readonly string[], means: string, without: string, fix: string): Finding => {
    const there = names.filter((name) => found[name]);
    const topic = names.join(', ');
    return there.length === names.length || (names.includes('nft') && there.length > 0)
      ? { topic, level: 'ok', fact: there.map((name) => found[name]).join(', '), means }
      : {
          topic,
          level: 'warning',
          fact: `${names.filter((name) => !found[name]).join(', ')} not found`,
          means: without,
          fix,
        };
  };
  const clients = ['podman', 'docker', 'containerd', 'nerdctl'].filter((name) => found[name]);
  return [
    optional(
      ['newuidmap', 'newgidmap'],
      'ordinary users can have ranges of ids',
      'users other than root can’t map ranges of ids (rootless); containers of root are not concerned',
      'apt-get install uidmap',
    ),
    optional(
      ['nft', 'iptables'],
      'rules for published ports and outgoing connections can be made',
      'no rules for networks beyond loopback and --network host can be made',
      'apt-get install nftables',
    ),
    optional(
      ['runc'],
      'tinyctr compare has somebody to compare with',
      'tinyctr compare needs another runtime',
      'apt-get install runc',
    ),
    ...clients.map(
      (name): Finding =>
        registered.includes(name)
          ? {
              topic: name,
              level: 'ok',
              fact: `${found[name]}, knows tinyctr-oci`,
              means: `${name} can be told to use it`,
            }
          : {
              topic: name,
              level: 'ok',
              fact: `${found[name]}, does not know tinyctr-oci`,
              means: `${name} goes on using its own runtime; README, "Register it with podman", says how to change that`,
            },
    ),
  ];
}
