/** The text of the container's /etc/hosts, hostname and resolv.conf, from --add-host, --dns and the host's. Pure. */
import { cut, isHostName } from './identity.ts';
import { isIP, isLoopback } from './ip.ts';
import { UsageError } from './usage-error.ts';

/** Reads one --add-host, `name:address` or `name=address`; an IPv6 address may be in brackets. @throws UsageError */
export function parseAddHost(text: string): { name: string; address: string } {
  const [name, rest] = cut(text, text.includes('=') ? '=' : ':');
  const address = rest?.replace(/^\[(.*)\]$/, '$1') ?? '';
  if (!isHostName(name, 253)) throw new UsageError(`--add-host '${text}': '${name}' is not a host name`);
  if (address === 'host-gateway') {
    throw new UsageError(`--add-host '${text}': host-gateway is not there yet: give the address itself`);
  }
  if (!isIP(address)) throw new UsageError(`--add-host '${text}': '${address}' is not an IP address`);
  return { name, address };
}

/** Checks one --dns. @throws UsageError */
export function checkDns(text: string): string {
  if (isIP(text)) return text;
  throw new UsageError(`--dns '${text}' is not an IP address`);
}

const ownHosts = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/**
 * The text of /etc/hosts (hosts(5)).
 * @param hostFile the host's own file, for a container in the host's network; undefined for any other
 * @throws UsageError for a bad --add-host
 */
export function hostsFile(addHost: readonly string[], hostFile: string | undefined): string {
  const base = hostFile === undefined ? ownHosts : hostFile.replace(/\n+$/, '').split('\n');
  const added = addHost.map(parseAddHost).map(({ name, address }) => `${address}\t${name}`);
  return `${[...base, ...added].join('\n')}\n`;
}

export function hostnameFile(hostname: string): string {
  return `${hostname}\n`;
}

export interface ResolvConfInput {
  /** The text of the host's /etc/resolv.conf; '' when it has none. */
  hostFile: string;
  dns: readonly string[];
  /** True when the container uses the host's network, where the host's loopback resolvers answer. */
  hostNetwork: boolean;
}

/**
 * The text of /etc/resolv.conf (resolv.conf(5)): the host's, with --dns in place of its name servers when given, and
 * without its loopback ones in a network of the container's own.
 * @throws UsageError for a bad --dns
 */
export function resolvConf({ hostFile, dns, hostNetwork }: ResolvConfInput): string {
  const servers = dns.map(checkDns);
  if (servers.length === 0 && hostNetwork) return hostFile;
  const kept = hostFile.split('\n').filter((line) => {
    const [keyword, address = ''] = line.trim().split(/\s+/);
    if (keyword !== 'nameserver') return line !== '';
    return servers.length === 0 && !isLoopback(address);
  });
  return [...servers.map((address) => `nameserver ${address}`), ...kept].map((line) => `${line}\n`).join('');
}
