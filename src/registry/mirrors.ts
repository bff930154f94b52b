/**
 * Registries that are asked before the one in an image's name: TINYCTR_MIRROR for docker.io, and a file for any.
 * Host side.
 */
import { readFileSync } from 'node:fs';
import { ContainerError } from '../core/kernel/error.ts';
import type { Reference } from '../image/reference.ts';
import type { Endpoint } from './endpoint.ts';
import type { RegistrySettings } from './settings.ts';

const VARIABLE = 'TINYCTR_MIRROR';
const DOCKER_HUB = 'docker.io';

/** In the order in which they are asked. Throws ContainerError for what can't be used. */
export function mirrorsOf(
  { domain, path }: Pick<Reference, 'domain' | 'path'>,
  { env, mirrorsFile }: Pick<RegistrySettings, 'env' | 'mirrorsFile'>,
): Endpoint[] {
  const named = domain === DOCKER_HUB ? env[VARIABLE] : undefined;
  const own = named ? [parseMirror(named, VARIABLE)] : [];
  const urls = [...own, ...(readMirrorsFile(mirrorsFile)[domain] ?? [])];
  return urls.map((url) => ({
    name: `${url.host} (mirror of ${domain})`,
    host: url.host,
    scheme: url.protocol === 'http:' ? 'http' : 'https',
    path: `${url.pathname.slice(1)}/${path}`.replace(/^\/+/, ''),
    registry: url.host,
    isMirror: true,
  }));
}

/** {"mirrors": {"docker.io": ["http://10.0.0.1:5000"]}}, and nothing else. */
function readMirrorsFile(file: string): Record<string, URL[]> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new ContainerError(`${file} can't be read`, { cause: error });
  }
  const fault = (pointer: string, why: string) => new ContainerError(`${file}: ${pointer} ${why}`);
  const { mirrors = {}, ...rest } = asObject(content) ?? {};
  const unknown = Object.keys(rest)[0];
  if (asObject(content) === undefined) throw fault('/', 'is not an object');
  if (unknown !== undefined) throw fault(`/${unknown}`, 'is not known; only /mirrors is');
  const lists = asObject(mirrors);
  if (lists === undefined) throw fault('/mirrors', 'is not an object');
  const entries = Object.entries(lists).map(([registry, urls]) => {
    const pointer = `/mirrors/${registry.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    if (!Array.isArray(urls)) throw fault(pointer, 'is not a list of URLs');
    return [registry, urls.map((url, i) => parseMirror(url, `${file}: ${pointer}/${i}`))] as const;
  });
  return Object.fromEntries(entries);
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  const is = typeof value === 'object' && value !== null && !Array.isArray(value);
  return is ? (value as Record<string, unknown>) : undefined;
}

/** A path goes before the repository's name: https://harbor.example/hub asks for hub/library/alpine. */
function parseMirror(text: unknown, where: string): URL {
  const fault = (why: string) => new ContainerError(`${where} is ${JSON.stringify(text)}, ${why}`);
  if (typeof text !== 'string' || !URL.canParse(text)) throw fault('no URL such as http://10.0.0.1:5000');
  const url = new URL(text);
  if (!['http:', 'https:'].includes(url.protocol)) throw fault('neither http nor https');
  if (url.username || url.password) throw fault(`with a user in it: use tinyctr login ${url.host}`);
  if (url.search || url.hash) throw fault('with more than a host and a path');
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}
