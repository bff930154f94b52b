/** Credentials, tried at the registry and kept where docker keeps them. Host side. */
import { ContainerError } from '../core/kernel/error.ts';
import { parseReference } from '../image/reference.ts';
import { dockerConfigFile, podmanAuthFiles, readCredentialFile, writeCredentialFile } from './credential-file.ts';
import { eraseInHelper, storeInHelper } from './credential-helper.ts';
import { type Credentials, helperFor, keysOf, serverKey, TOKEN_USER, userIn } from './credentials.ts';
import { originOf } from './endpoint.ts';
import { RegistryError } from './failure.ts';
import { Session } from './session.ts';
import { defaultSettings, type RegistrySettings } from './settings.ts';

export interface LoginOptions {
  insecure?: boolean;
  settings?: Partial<RegistrySettings>;
}

/** The registry that someone means by https://ghcr.io/me, ghcr.io, index.docker.io, or nothing: Docker Hub. */
export function registryNamed(server: string | undefined): string {
  const host = (server ?? 'docker.io').replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  if (['docker.io', 'index.docker.io', 'registry-1.docker.io', 'hub.docker.com'].includes(host)) return 'docker.io';
  if (parseReference(`${host}/x`).domain === host) return host;
  throw new ContainerError(`${JSON.stringify(server)} is no registry that an image's name could begin with`, {
    hint: 'it has a dot or a port in it: registry.example or registry:5000',
  });
}

/** The user whose credentials are there already, as far as the file itself tells. */
export function knownUser(registry: string, env = defaultSettings().env): string | undefined {
  const content = readCredentialFile(dockerConfigFile(env)) ?? {};
  const [key] = keysOf(content, registry);
  return key === undefined ? undefined : userIn(content.auths?.[key] ?? {});
}

/** Returns where they are now: the helper's name, or none: readable in `file`. Nothing is kept if the registry refuses. */
export async function login(
  registry: string,
  user: string,
  password: string,
  { insecure = false, settings }: LoginOptions = {},
): Promise<{ file: string; helper: string | undefined }> {
  const all = { ...defaultSettings(), ...settings };
  const file = dockerConfigFile(all.env);
  const content = readCredentialFile(file) ?? {};
  const identityToken = await verify(
    registry,
    { kind: 'password', user, password, source: 'this login' },
    all,
    insecure,
  );
  const key = serverKey(registry);
  const helper = helperFor(content, registry);
  const auth = Buffer.from(`${user}:${identityToken === undefined ? password : ''}`).toString('base64');
  const entry = identityToken === undefined ? { auth } : { auth, identitytoken: identityToken };
  if (helper !== undefined) {
    const kept = identityToken === undefined ? { user, secret: password } : { user: TOKEN_USER, secret: identityToken };
    await storeInHelper(helper, key, kept, all.env);
  }
  // With a helper docker leaves an empty entry here, which tells that there is something.
  writeCredentialFile(file, { ...content, auths: { ...content.auths, [key]: helper === undefined ? entry : {} } });
  return { file, helper };
}

/** Returns an identity token where the registry's token server gives one. */
async function verify(
  registry: string,
  credentials: Credentials & { kind: 'password' },
  settings: RegistrySettings,
  insecure: boolean,
): Promise<string | undefined> {
  const endpoint = originOf({ domain: registry, path: '' }, insecure);
  const session = new Session(endpoint, { settings, insecure, signal: undefined, credentials });
  try {
    const wish = { method: 'GET', url: '/v2/', scopes: [], expect: [200], what: 'log in' } as const;
    await session.request(wish, (answer) => answer.body.dump());
    return session.auth.identityToken;
  } catch (error) {
    if (!(error instanceof RegistryError) || (error.status !== 401 && error.status !== 403)) throw error;
    const { status } = error;
    throw new RegistryError(`${registry} refuses user ${JSON.stringify(credentials.user)} with this password`, {
      status,
      cause: error,
      hint: registry === 'docker.io' ? 'with two-factor authentication an access token is the password' : undefined,
    });
  } finally {
    session.close();
  }
}

/** What was found: nothing is left of it. `elsewhere` are files of podman's that still have credentials. */
export async function logout(
  registry: string,
  env = defaultSettings().env,
): Promise<{ removed: boolean; elsewhere: string[] }> {
  const file = dockerConfigFile(env);
  const content = readCredentialFile(file) ?? {};
  const helper = helperFor(content, registry);
  const erased = helper !== undefined && (await eraseInHelper(helper, serverKey(registry), env));
  const keys = keysOf(content, registry);
  if (keys.length > 0) {
    const kept = Object.entries(content.auths ?? {}).filter(([key]) => !keys.includes(key));
    writeCredentialFile(file, { ...content, auths: Object.fromEntries(kept) });
  }
  const elsewhere = podmanAuthFiles(env).filter(
    (other) => keysOf(readCredentialFile(other) ?? {}, registry).length > 0,
  );
  return { removed: erased || keys.length > 0, elsewhere };
}
