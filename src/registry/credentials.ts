/**
 * Whose credentials a registry gets: docker's config.json first, then podman's auth.json; in each file the helper that
 * is set for the registry, then what the file itself holds. Host side.
 */
import { readFileSync } from 'node:fs';
import {
  type AuthEntry,
  type CredentialFile,
  dockerConfigFile,
  podmanAuthFiles,
  readCredentialFile,
} from './credential-file.ts';
import { askHelper } from './credential-helper.ts';
import type { Endpoint } from './endpoint.ts';
import type { RegistrySettings } from './settings.ts';

/** `source` is for people: a file or a helper. */
export type Credentials =
  | { kind: 'password'; user: string; password: string; source: string }
  /** Given to the token server in place of a password. */
  | { kind: 'identityToken'; token: string; source: string }
  /** Given to the registry as it is. */
  | { kind: 'registryToken'; token: string; source: string };

/** A user of this name has an identity token for a password; docker/docker-credential-helpers. */
export const TOKEN_USER = '<token>';
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';
const DOCKER_HUB_NAMES = [DOCKER_HUB_KEY, 'docker.io', 'index.docker.io', 'registry-1.docker.io'];

/** Under what docker keeps a registry's credentials. */
export function serverKey(registry: string): string {
  return registry === 'docker.io' ? DOCKER_HUB_KEY : registry;
}

/** The keys of `auths` that speak of this registry. */
export function keysOf(file: CredentialFile, registry: string): string[] {
  const names = registry === 'docker.io' ? DOCKER_HUB_NAMES : [registry];
  const known = Object.keys(file.auths ?? {});
  const exact = names.filter((name) => known.includes(name));
  const written = known.filter((key) => !exact.includes(key) && names.includes(withoutScheme(key)));
  return [...exact, ...written];
}

/** Old clients wrote https://host/v1/. */
function withoutScheme(key: string): string {
  return key.includes('://') ? key.replace(/^[a-z]+:\/\//, '').replace(/\/.*$/, '') : key;
}

/** Undefined: nobody has any, ask anonymously. Throws ContainerError for a file that can't be read. */
export async function findCredentials(
  { registry, path }: Pick<Endpoint, 'registry' | 'path'>,
  { env, warn }: RegistrySettings,
): Promise<Credentials | undefined> {
  for (const file of [dockerConfigFile(env), ...podmanAuthFiles(env)]) {
    const content = readCredentialFile(file);
    const found =
      content && ((await fromHelper(content, registry, env, warn)) ?? fromFile(content, registry, path, file));
    if (found) return found;
  }
  return undefined;
}

/** docker stops where its helper is missing; a public image needs none, so we go on. */
async function fromHelper(
  content: CredentialFile,
  registry: string,
  env: RegistrySettings['env'],
  warn: RegistrySettings['warn'],
): Promise<Credentials | undefined> {
  const name = helperFor(content, registry);
  if (name === undefined) return undefined;
  try {
    const kept = await askHelper(name, serverKey(registry), env);
    if (kept === undefined) return undefined;
    const source = `docker-credential-${name}`;
    if (kept.user === TOKEN_USER) return { kind: 'identityToken', token: kept.secret, source };
    return { kind: 'password', user: kept.user, password: kept.secret, source };
  } catch (error) {
    warn(`${(error as Error).message}; ${registry} is asked without its credentials`);
    return undefined;
  }
}

export function helperFor({ credHelpers, credsStore }: CredentialFile, registry: string): string | undefined {
  return credHelpers?.[serverKey(registry)] ?? credHelpers?.[registry] ?? (credsStore || undefined);
}

/**
 * With sudo the files of root are read. The file of whoever called sudo, when that one has credentials for the registry:
 * for a hint, its content goes nowhere.
 */
export function fileOfSudoUser(
  registry: string,
  { SUDO_UID, HOME }: RegistrySettings['env'],
  passwd = '/etc/passwd',
): string | undefined {
  if (!SUDO_UID) return undefined;
  try {
    const line = readFileSync(passwd, 'utf8')
      .split('\n')
      .find((text) => text.split(':')[2] === SUDO_UID);
    const home = line?.split(':')[5];
    if (!home || home === HOME) return undefined;
    const files = [
      dockerConfigFile({ HOME: home }),
      ...podmanAuthFiles({ HOME: home, XDG_RUNTIME_DIR: `/run/user/${SUDO_UID}` }),
    ];
    return files.find((file) => {
      const content = readCredentialFile(file);
      return content && (keysOf(content, registry).length > 0 || helperFor(content, registry) !== undefined);
    });
  } catch {
    return undefined;
  }
}

/** podman also knows host/namespace and host/namespace/name: the longest that fits counts. */
function fromFile(content: CredentialFile, registry: string, path: string, source: string): Credentials | undefined {
  const parts = path.split('/');
  const longer = parts.map((_, i) => `${registry}/${parts.slice(0, parts.length - i).join('/')}`);
  for (const key of [...longer, ...keysOf(content, registry)]) {
    const entry = content.auths?.[key];
    const found = entry && fromEntry(entry, source);
    if (found) return found;
  }
  return undefined;
}

function fromEntry(entry: AuthEntry, source: string): Credentials | undefined {
  if (entry.identitytoken) return { kind: 'identityToken', token: entry.identitytoken, source };
  if (entry.registrytoken) return { kind: 'registryToken', token: entry.registrytoken, source };
  const { user, password } = decode(entry);
  return user && password ? { kind: 'password', user, password, source } : undefined;
}

export function userIn(entry: AuthEntry): string | undefined {
  return decode(entry).user || undefined;
}

function decode({ auth, username, password }: AuthEntry): { user: string | undefined; password: string | undefined } {
  const text = Buffer.from(auth ?? '', 'base64')
    .toString('utf8')
    .replace(/\0+$/, '');
  const colon = text.indexOf(':');
  return colon < 0 ? { user: username, password } : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
