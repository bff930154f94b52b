/** --sysctl: only kernel settings that belong to a namespace of the container's own (SEC-12). Pure. */
import { cut } from './identity.ts';
import type { HostNamespaces } from './namespaces.ts';
import type { HostReaders, RunOptions } from './options.ts';
import { type Problems, UsageError } from './usage-error.ts';

const ipcKeys = [
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
];
/** Dotted words: no slash and no empty part, so that a key can't leave its own directory of /proc/sys. */
const keyGrammar = /^[a-z0-9_]+(?:\.[A-Za-z0-9_-]+)+$/;

function neededNamespace(key: string): 'ipc' | 'network' | undefined {
  if (ipcKeys.includes(key) || key.startsWith('fs.mqueue.')) return 'ipc';
  return key.startsWith('net.') ? 'network' : undefined;
}

/** Reads `key=value`. @throws UsageError when the key is not namespaced, or its namespace is the host's */
function parseSysctl(text: string, host: HostNamespaces): [string, string] {
  const [key, value] = cut(text, '=');
  const option = `--sysctl '${text}'`;
  if (!keyGrammar.test(key)) {
    throw new UsageError(`${option}: '${key}' is not a sysctl name: dotted words of letters, digits, '_' and '-'`);
  }
  if (key === 'kernel.hostname') throw new UsageError(`${option} is refused: use --hostname`);
  const namespace = neededNamespace(key);
  if (namespace === undefined) {
    const allowed = `${ipcKeys.join(', ')}, fs.mqueue.* and net.*`;
    throw new UsageError(`${option} would change the host: only these belong to a container: ${allowed}`);
  }
  if (host[namespace]) {
    throw new UsageError(`${option} would change the host, whose ${namespace} namespace the container shares`);
  }
  if (value === undefined || !/^[^\p{Cc}]+$/u.test(value.replaceAll('\t', ' '))) {
    throw new UsageError(`${option} has no value: give ${key}=value, on one line`);
  }
  return [key, value];
}

/**
 * docker's two defaults for a network namespace of the container's own: ports below 1024 and ping sockets are for
 * everybody in it. Left out where the kernel doesn't have them.
 */
function defaultSysctls(namespaces: HostNamespaces, host: HostReaders, mapped: boolean): [string, string][] {
  if (namespaces.network) return [];
  const defaults: [string, string][] = [
    ['net.ipv4.ip_unprivileged_port_start', '0'],
    ['net.ipv4.ping_group_range', mapped ? '0 65535' : '0 2147483647'], // of groups that there are
  ];
  return defaults.filter(([key]) => host.exists(`/proc/sys/${key.replaceAll('.', '/')}`));
}

/** linux.sysctl of the specification: the defaults, and over them what --sysctl says. */
export function sysctls(
  options: RunOptions,
  namespaces: HostNamespaces,
  host: HostReaders,
  problems: Problems,
  mapped = false,
): Record<string, string> {
  const given = problems.each(options.sysctl, (text) => parseSysctl(text, namespaces));
  return Object.fromEntries([...defaultSysctls(namespaces, host, mapped), ...given]);
}
