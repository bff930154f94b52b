/** HTTPS_PROXY, HTTP_PROXY and NO_PROXY, read as Go programs (docker, podman) read them. Pure. */
import { BlockList, isIP } from 'node:net';
import { ContainerError } from '../core/kernel/error.ts';
import { isLoopback } from './endpoint.ts';
import { printable } from './failure.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The proxy on the way to `url`, or undefined: straight. Throws ContainerError for a proxy that can't be used. */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const value = env[name] || env[name.toLowerCase()];
  if (!value || isLoopback(url.host) || isExcepted(url, env.NO_PROXY || env.no_proxy || '')) return undefined;
  const proxy = parse(value.includes('://') ? value : `http://${value}`);
  if (proxy?.protocol === 'http:' || proxy?.protocol === 'https:') return proxy;
  throw new ContainerError(`${name} is ${JSON.stringify(printable(withoutPassword(value)))}, no http or https proxy`);
}

/** Entries of NO_PROXY: host (with all below it), .domain, host:port, address, network/bits, or * for everything. */
function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const entries = list.split(',').map((entry) => entry.trim().toLowerCase());
  return entries.some((entry) => entry !== '' && (entry === '*' || matches(entry, host, port)));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry.includes('/')) return isInNetwork(entry, host);
  const [, name = entry, entryPort] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  const bare = name.replace(/^\[|\]$/g, '').replace(/^\*(?=\.)/, '');
  if (host === bare) return true;
  return isIP(host) === 0 && host.endsWith(bare.startsWith('.') ? bare : `.${bare}`);
}

function isInNetwork(entry: string, host: string): boolean {
  const [network = '', bits = ''] = entry.split('/');
  const family = isIP(host);
  if (family === 0 || isIP(network) !== family || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(network, Number(bits), type);
  return list.check(host, type);
}

function parse(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function withoutPassword(value: string): string {
  return value.replace(/\/\/[^/@]*@/, '//…@');
}
