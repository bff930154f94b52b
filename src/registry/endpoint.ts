/** Where a repository is asked for: the registry of its name, and mirrors before it. Host side. */
import type { Reference } from '../image/reference.ts';

export interface Endpoint {
  /** For people: docker.io, or "10.0.0.1:5000 (mirror of docker.io)". */
  name: string;
  /** host[:port]. */
  host: string;
  /** 'any': https, or http when the server speaks no TLS. */
  scheme: 'https' | 'http' | 'any';
  /** The repository's name there. */
  path: string;
  /** The registry whose credentials are sent, as images name it: docker.io, not registry-1.docker.io. */
  registry: string;
  isMirror: boolean;
}

const DOCKER_HUB = 'docker.io';
const DOCKER_HUB_HOST = 'registry-1.docker.io';

export function originOf({ domain, path }: Pick<Reference, 'domain' | 'path'>, insecure: boolean): Endpoint {
  const host = domain === DOCKER_HUB ? DOCKER_HUB_HOST : domain;
  const scheme = insecure || isLoopback(host) ? 'any' : 'https';
  return { name: domain, host, scheme, path, registry: domain, isMirror: false };
}

/** host[:port] is this machine, by its name alone: nobody is asked for an address. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return name === 'localhost' || /^127(\.\d{1,3}){3}$/.test(name) || name === '[::1]';
}
