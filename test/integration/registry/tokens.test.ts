/** Bearer tokens: a token server as the specification describes, in front of a registry; and one that is not to be trusted. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { Repository } from '../../../src/registry/client.ts';
import type { RegistrySettings } from '../../../src/registry/settings.ts';
import { HostileRegistry, on, refuse } from '../../support/hostile-registry.ts';
import { sha256 } from '../../support/registry.ts';
import { TokenServer } from '../../support/token-server.ts';

const folder = mkdtempSync(`${tmpdir()}/tinyctr-tokens-`);
const layers = [randomBytes(1000), randomBytes(1000), randomBytes(1000)];
let registry: HostileRegistry;
let tokens: TokenServer;
let open: Repository[] = [];

beforeEach(async () => {
  registry = await HostileRegistry.start();
  tokens = await TokenServer.start();
  registry.add('1', layers);
  registry.fault = tokens.guard;
  tokens.users.set('joe', 'sesame:x');
});
afterEach(async () => {
  for (const repository of open) repository.close();
  open = [];
  await registry.stop();
  await tokens.stop();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function repository(auth: object | undefined, settings: Partial<RegistrySettings> = {}): Repository {
  writeFileSync(`${folder}/config.json`, JSON.stringify({ auths: auth ? { [registry.host]: auth } : {} }));
  const env = { HOME: '/nonexistent', XDG_RUNTIME_DIR: '/nonexistent', DOCKER_CONFIG: folder };
  const surroundings = { env, mirrorsFile: '/nonexistent', backoffMs: 5, ...settings };
  const made = new Repository({ domain: registry.host, path: 'team/thing' }, { settings: surroundings });
  open.push(made);
  return made;
}

async function refused(repository: Repository): Promise<{ message: string; hint: string; status: number }> {
  return await repository.manifest('1').then(
    () => Promise.reject(new Error('it succeeded')),
    (error) => error,
  );
}

const joe = { auth: btoa('joe:sesame:x') };

test('anonymous, where anybody may pull', async () => {
  tokens.open.add('team/thing');
  await repository(undefined).manifest('1');
  expect(tokens.requests).toHaveLength(1);
  expect(tokens.requests[0]).toMatchObject({ method: 'GET', authorization: undefined });
  expect(tokens.requests[0]!.parameters.get('service')).toBe('test registry');
  expect(tokens.requests[0]!.parameters.getAll('scope')).toEqual(['repository:team/thing:pull']);
});

test('anonymous, where nobody may: one sentence and what to do', async () => {
  const { message, hint, status } = await refused(repository(undefined));
  expect(message).toBe(
    `${registry.host} does not let anonymous users pull team/thing:1: UNAUTHORIZED: authentication required`,
  );
  expect(hint).toBe(`the name may be wrong, or it is private: tinyctr login ${registry.host}`);
  expect(status).toBe(401);
});

test('a user: the password goes to the token server, the token to the registry; one token for all that run at once', async () => {
  const made = repository(joe);
  const blobs = layers.map((layer) => made.blob(sha256(layer), layer.length, 0));
  for (const { stream } of await Promise.all(blobs)) stream.destroy();
  await made.manifest('1');
  expect(tokens.requests.map(({ authorization }) => authorization)).toEqual([`Basic ${joe.auth}`]);
  expect(registry.requests.some(({ authorization }) => authorization?.startsWith('Basic'))).toBe(false);
});

test('to push is another scope, with a token of its own', async () => {
  const made = repository(joe);
  await made.manifest('1');
  await made.hasBlob(sha256(layers[0]!));
  expect(tokens.requests.map(({ parameters }) => parameters.getAll('scope').at(-1))).toEqual([
    'repository:team/thing:pull',
    'repository:team/thing:pull,push',
  ]);
});

test('a token that has expired is replaced, before it is sent and after', async () => {
  tokens.expiresIn = 1;
  const made = repository(joe);
  await made.manifest('1');
  await new Promise((resolve) => setTimeout(resolve, 1100));
  await made.manifest('1');
  expect(tokens.requests).toHaveLength(2);
  const sent = registry.requests.length;
  registry.fault = on(/manifests/, (_, response) => {
    registry.fault = tokens.guard;
    refuse(
      response.setHeader('www-authenticate', `Bearer realm="http://${tokens.host}/token"`),
      401,
      'UNAUTHORIZED',
      'old',
    );
  });
  await made.manifest('1');
  expect(tokens.requests).toHaveLength(3);
  expect(registry.requests.length - sent).toBe(2);
});

test('a wrong password: whose it is, and what to do', async () => {
  const { message, hint } = await refused(repository({ auth: btoa('joe:wrong') }));
  expect(message).toBe(
    `${registry.host}: ${tokens.host} refuses the credentials of user "joe" (credentials from ${folder}/config.json)`,
  );
  expect(hint).toContain(`tinyctr login ${registry.host}`);
  expect(tokens.requests).toHaveLength(1);
});

test('an identity token is posted, and never put into a URL', async () => {
  tokens.identityTokens.set('secret', 'joe');
  await repository({ auth: btoa('joe:'), identitytoken: 'secret' }).manifest('1');
  expect(tokens.requests[0]).toMatchObject({ method: 'POST', authorization: undefined });
  expect(Object.fromEntries(tokens.requests[0]!.parameters)).toEqual({
    grant_type: 'refresh_token',
    client_id: 'tinyctr',
    refresh_token: 'secret',
    service: 'test registry',
    scope: 'repository:team/thing:pull',
  });
});

test('an identity token is not carried along by a redirect', async () => {
  const thief = await TokenServer.start();
  tokens.fault = (_, response) => {
    response.writeHead(307, { location: `http://${thief.host}/` }).end();
    return true;
  };
  const { message } = await refused(repository({ identitytoken: 'secret' }));
  expect(message).toMatch(/a password is not carried there/);
  const { status } = await refused(repository(joe));
  expect(status).toBe(401);
  expect(thief.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
  await thief.stop();
});

test('a registry token is sent as it is', async () => {
  registry.fault = (request, response) =>
    request.headers.authorization === 'Bearer ready' ? false : tokens.guard(request, response);
  await repository({ registrytoken: 'ready' }).manifest('1');
  expect(tokens.requests).toEqual([]);
});

test('a token server that fails for a moment', async () => {
  tokens.fault = on(/./, (_, response) => refuse(response, 503, 'UNAVAILABLE', 'soon'), 2);
  await repository(joe).manifest('1');
  expect(tokens.requests).toHaveLength(3);
});

test('a token server that gives nonsense', async () => {
  for (const text of ['{}', 'null', '<html>', '{"token": 5}', '{"token": "a\\r\\nX-Evil: 1"}', '[]']) {
    tokens.fault = on(/./, (_, response) => response.end(text));
    const { message } = await refused(repository(joe));
    expect(message).toBe(`${tokens.host}, the token server of ${registry.host}, gives no token`);
  }
});

test('a token server that is not to be trusted with a password', async () => {
  for (const realm of ['http://192.0.2.1/token', 'http://user:pw@127.0.0.1/', 'file:///etc/passwd', 'token', '']) {
    registry.fault = on(/manifests/, (_, response) =>
      refuse(response.setHeader('www-authenticate', `Bearer realm="${realm}"`), 401, 'UNAUTHORIZED', 'x'),
    );
    const { message } = await refused(repository(joe));
    expect(message).toMatch(
      /^the token server of 127\.0\.0\.1:\d+ is ".*", (which is no URL|with a user in it|without encryption)/,
    );
  }
});
