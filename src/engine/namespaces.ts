/** Which namespaces of its own the container has, from --network, --pid, --ipc, --uts and --cgroupns. Pure. */
import type { Namespace, NamespaceType } from '../core/spec/types.ts';
import type { RunOptions } from './options.ts';
import { type Problems, UsageError } from './usage-error.ts';

/** True where the host's namespace is used instead of a new one. */
export interface HostNamespaces {
  network: boolean;
  pid: boolean;
  ipc: boolean;
  uts: boolean;
  cgroup: boolean;
}

function isHost(option: string, value: string | undefined, own: string[]): boolean {
  if (value === undefined || own.includes(value)) return false;
  if (value === 'host') return true;
  const allowed = [...own, 'host'].join(' or ');
  throw new UsageError(`${option} '${value}' is not there yet: ${allowed} is allowed`);
}

/** Reads the five options; the default is a namespace of the container's own, the network one with loopback only. */
export function hostNamespaces(options: RunOptions, problems: Problems): HostNamespaces {
  const read = (option: string, value: string | undefined, own: string[]) =>
    problems.attempt(() => isHost(option, value, own), false);
  const host = {
    network: read('--network', options.network, ['none']),
    pid: read('--pid', options.pid, []),
    ipc: read('--ipc', options.ipc, ['private']),
    uts: read('--uts', options.uts, []),
    cgroup: read('--cgroupns', options.cgroupns, ['private']),
  };
  if (host.uts && options.hostname !== undefined) {
    problems.add("--hostname and --uts=host exclude each other: the host's name would be changed");
  }
  if (host.ipc && options.shmSize !== undefined) {
    problems.add("--shm-size and --ipc=host exclude each other: the container gets the host's /dev/shm as it is");
  }
  if (host.pid && options.init) {
    problems.add('--init and --pid=host exclude each other: the container has no process 1 of its own');
  }
  return host;
}

/** The new namespaces, as runtime-spec's linux.namespaces; the mount one is always the container's. */
export function namespaces(host: HostNamespaces, user: boolean): Namespace[] {
  const own: NamespaceType[] = user ? ['user', 'mount'] : ['mount'];
  for (const type of ['network', 'uts', 'pid', 'ipc', 'cgroup'] as const) if (!host[type]) own.push(type);
  return own.map((type) => ({ type }));
}

const laterModes = ['nomap', 'private', 'container:', 'ns:'];

/** --userns; undefined is the host's. With the host's processes or everything of the host's, there is nothing left to keep apart. */
export function usernsMode(options: RunOptions, problems: Problems): 'auto' | 'keep-id' | undefined {
  const { userns = 'host' } = options;
  if (userns === 'host') return undefined;
  if (userns !== 'auto' && userns !== 'keep-id') {
    const later = laterModes.some((mode) => userns.startsWith(mode)) || /^(auto|keep-id):/.test(userns);
    problems.add(`--userns '${userns}' is ${later ? 'not there yet' : 'unknown'}: auto, keep-id or host is allowed`);
    return undefined;
  }
  if (options.privileged)
    problems.add(
      `--privileged and --userns=${userns} exclude each other: it gives the host's devices to the host's root`,
    );
  if (options.pid === 'host')
    problems.add(
      `--pid=host and --userns=${userns} exclude each other: a procfs of the host's processes can't be mounted there`,
    );
  if (options.cgroupns === 'host')
    problems.add(
      `--cgroupns=host and --userns=${userns} exclude each other: the host's cgroups can't be mounted there`,
    );
  return userns;
}
