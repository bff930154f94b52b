/** The way to a registry: certificates, proxies, mirrors. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Repository } from '../../../src/registry/client.ts';
import { HostileRegistry, on, refuse } from '../../support/hostile-registry.ts';
import { needs } from '../../support/need.ts';
import { TestProxy } from '../../support/proxy.ts';
import { REGISTRY_NEEDS, Registry, sha256, writeLayout } from '../../support/registry.ts';
import { type Certificate, makeCertificate } from '../../support/tls.ts';

const folder = mkdtempSync(`${tmpdir()}/tinyctr-network-`);
const layer = randomBytes(100_000);
const digest = sha256(layer);
let open: Repository[] = [];
let warnings: string[] = [];

afterEach(() => {
  for (const repository of open) repository.close();
  open = [];
  warnings = [];
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Way {
  env?: Record<string, string>;
  insecure?: boolean;
  mirrors?: unknown;
}

function repository(domain: string, { env = {}, insecure = false, mirrors }: Way = {}): Repository {
  const mirrorsFile = `${folder}/registries.json`;
  rmSync(mirrorsFile, { force: true });
  if (mirrors !== undefined) writeFileSync(mirrorsFile, JSON.stringify(mirrors));
  const settings = {
    env: { HOME: '/nonexistent', XDG_RUNTIME_DIR: '/nonexistent', ...env },
    mirrorsFile,
    backoffMs: 5,
    warn: (text: string) => warnings.push(text),
  };
  const made = new Repository({ domain, path: 'team/thing' }, { insecure, settings });
  open.push(made);
  return made;
}

async function pull(made: Repository): Promise<string> {
  const { digest: found } = await made.manifest('1');
  const { stream } = await made.blob(digest, layer.length, 0);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  expect(sha256(Buffer.concat(chunks))).toBe(digest);
  return found;
}

const failing = (promise: Promise<unknown>): Promise<Error & { hint?: string }> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error) => error,
  );

describe(
  'a registry with a certificate of its own authority',
  needs({ command: [...REGISTRY_NEEDS.command, 'openssl'] }),
  () => {
    let tls: Certificate;
    let registry: Registry;
    beforeAll(async () => {
      tls = makeCertificate(folder, 'registry.test');
      registry = await Registry.start({ tls });
      writeLayout(`${folder}/layout`, [layer]);
      registry.fill(`oci:${folder}/layout:latest`, 'team/thing:1');
    });
    afterAll(async () => {
      await registry?.stop();
    });

    test('is not trusted, on loopback neither', async () => {
      const { message, hint } = await failing(repository(registry.host).manifest('1'));
      expect(message).toMatch(/^127\.0\.0\.1:\d+: its certificate is not trusted: /);
      expect(hint).toMatch(/NODE_EXTRA_CA_CERTS=FILE .*--insecure/);
    });

    test.each(['NODE_EXTRA_CA_CERTS', 'TINYCTR_EXTRA_CA_CERTS', 'SSL_CERT_FILE'])('is, with %s', async (name) => {
      await repository(registry.host, { env: { [name]: tls.authority } }).manifest('1');
    });

    test('is, with --insecure', async () => {
      await repository(registry.host, { insecure: true }).manifest('1');
    });

    test('NODE_EXTRA_CA_CERTS that names no file, or no certificates', async () => {
      const env = (file: string) => ({ env: { NODE_EXTRA_CA_CERTS: file } });
      const { message } = await failing(repository(registry.host, env('/nonexistent/ca.pem')).manifest('1'));
      expect(message).toBe("the certificates of NODE_EXTRA_CA_CERTS can't be read: /nonexistent/ca.pem");
    });

    test('the name in the certificate counts', async () => {
      const proxy = await TestProxy.start(() => registry.host);
      const env = { HTTPS_PROXY: `http://${proxy.host}`, NODE_EXTRA_CA_CERTS: tls.authority };
      const { message } = await failing(repository('other.test', { env }).manifest('1'));
      expect(message).toMatch(/^other\.test, by the proxy 127\.0\.0\.1:\d+: its certificate is not trusted/);
      await proxy.stop();
    });
  },
);

describe('a proxy', needs({ command: 'openssl' }), () => {
  let tls: Certificate;
  let registry: HostileRegistry;
  let plain: HostileRegistry;
  let proxy: TestProxy;
  let target = '';
  let expected: string;
  beforeAll(async () => {
    tls = makeCertificate(folder, 'registry.test');
    registry = await HostileRegistry.start({ cert: tls.cert, key: tls.keyText });
    plain = await HostileRegistry.start();
    expected = registry.add('1', [layer]);
    plain.add('1', [layer]);
    proxy = await TestProxy.start(() => target);
  });
  beforeEach(() => {
    target = registry.host;
    proxy.requests.length = 0;
    proxy.passwords.length = 0;
  });
  afterAll(async () => {
    await proxy?.stop();
    await registry?.stop();
    await plain?.stop();
  });
  const env = (more: Record<string, string>) => ({ env: { NODE_EXTRA_CA_CERTS: tls.authority, ...more } });

  test.each(['HTTPS_PROXY', 'https_proxy'])('%s is on the way to https, by CONNECT', async (name) => {
    expect(await pull(repository('registry.test', env({ [name]: `http://${proxy.host}` })))).toBe(expected);
    expect(new Set(proxy.requests)).toEqual(new Set(['CONNECT registry.test:443']));
  });

  test('its password is for it alone', async () => {
    await pull(repository('registry.test', env({ HTTPS_PROXY: `http://me:p%40ss@${proxy.host}` })));
    expect(proxy.passwords).toContain(`Basic ${btoa('me:p@ss')}`);
    expect(registry.requests.some(({ authorization }) => authorization !== undefined)).toBe(false);
  });

  test('HTTP_PROXY is on the way to http', async () => {
    target = plain.host;
    const way = { env: { HTTP_PROXY: proxy.host, TINYCTR_MIRROR: 'http://mirror.test:5000' } };
    expect(await pull(repository('docker.io', way))).toBe(expected);
    expect(proxy.requests[0]).toBe('GET http://mirror.test:5000/v2/team/thing/manifests/1');
  });

  test('NO_PROXY leads straight', async () => {
    const way = env({ HTTPS_PROXY: `http://${proxy.host}`, NO_PROXY: 'x.example, registry.test' });
    const { message } = await failing(repository('registry.test', { ...way }).manifest('1'));
    expect(message).toMatch(/^registry\.test: /); // there is no such host
    expect(proxy.requests).toEqual([]);
  });

  test('loopback is never asked for at a proxy', async () => {
    expect(
      await pull(repository(plain.host, env({ HTTP_PROXY: 'http://127.0.0.1:1', HTTPS_PROXY: 'http://127.0.0.1:1' }))),
    ).toBe(expected);
  });

  test('one that is not there, or of another kind', async () => {
    const gone = await failing(repository('registry.test', env({ HTTPS_PROXY: 'http://127.0.0.1:1' })).manifest('1'));
    expect(gone.message).toMatch(/^registry\.test, by the proxy 127\.0\.0\.1:1: nothing listens there/);
    const socks = await failing(
      repository('registry.test', env({ HTTPS_PROXY: 'socks5://me:pw@127.0.0.1:1' })).manifest('1'),
    );
    expect(socks.message).toBe('HTTPS_PROXY is "socks5://…@127.0.0.1:1", no http or https proxy');
  });

  test('https does not become http by a redirect', async () => {
    registry.fault = on(/blobs/, (_, response) => response.writeHead(307, { location: `http://${plain.host}/` }).end());
    const seen = plain.requests.length;
    const way = env({ HTTPS_PROXY: `http://${proxy.host}` });
    const { message } = await failing(repository('registry.test', way).blob(digest, layer.length, 0));
    expect(message).toMatch(/^registry\.test redirects to http:\/\/127.*, which would give up encryption$/);
    expect(plain.requests.length).toBe(seen);
    registry.fault = () => false;
  });

  test('another host needs https, and says so when it has none', async () => {
    target = plain.host;
    const { message, hint } = await failing(
      repository('registry.test', env({ HTTPS_PROXY: proxy.host })).manifest('1'),
    );
    expect(message).toMatch(/does not speak TLS/);
    expect(hint).toContain('--insecure');
    const way = { ...env({ HTTPS_PROXY: proxy.host, HTTP_PROXY: proxy.host }), insecure: true };
    expect(await pull(repository('registry.test', way))).toBe(expected);
  });
});

describe('mirrors', () => {
  let origin: HostileRegistry;
  let mirror: HostileRegistry;
  let expected: string;
  beforeEach(async () => {
    origin = await HostileRegistry.start();
    mirror = await HostileRegistry.start();
    expected = origin.add('1', [layer]);
  });
  afterEach(async () => {
    await origin.stop();
    await mirror.stop();
  });
  const mirrored = (env: Record<string, string> = {}, path = '') =>
    repository(origin.host, { env, mirrors: { mirrors: { [origin.host]: [`http://${mirror.host}${path}`] } } });

  test('are asked first, and what they have is not asked for again', async () => {
    mirror.add('1', [layer]);
    const made = mirrored();
    expect(await pull(made)).toBe(expected);
    expect((await made.blob(digest, layer.length, 5)).source).toBe(`${mirror.host} (mirror of ${origin.host})`);
    expect(origin.requests).toEqual([]);
  });

  test('that lack an image: the registry itself has it', async () => {
    expect(await pull(mirrored())).toBe(expected);
    expect(warnings).toEqual([]);
  });

  test('that are gone, fail or lie: a warning, and the registry itself', async () => {
    mirror.manifests.set('1', Buffer.from('{}'));
    mirror.fault = on(/manifests/, (_, response) => response.setHeader('docker-content-digest', expected).end('{}'));
    expect(await pull(mirrored())).toBe(expected);
    expect(warnings).toHaveLength(1);
    mirror.fault = on(/./, (_, response) => refuse(response, 503, 'UNAVAILABLE', 'no'));
    expect((await mirrored().manifest('1')).digest).toBe(expected);
    await mirror.stop();
    const made = mirrored();
    await pull(made);
    expect(warnings.at(-1)).toMatch(/nothing listens there.* is asked instead$/);
    mirror = await HostileRegistry.start();
  });

  test('and the registry itself have nothing: both are in the error', async () => {
    const { message } = await failing(mirrored().manifest('2'));
    expect(message).toMatch(/^127\.0\.0\.1:\d+ can't pull .*; before: 127\.0\.0\.1:\d+ \(mirror of .*\) can't pull/);
  });

  test("do not get the registry's password", async () => {
    const auths = { [origin.host]: { auth: btoa('joe:sesame') } };
    writeFileSync(`${folder}/config.json`, JSON.stringify({ auths }));
    mirror.fault = (_, response) => {
      refuse(response.setHeader('www-authenticate', 'Basic realm="x"'), 401, 'UNAUTHORIZED', 'who?');
      return true;
    };
    await mirrored({ DOCKER_CONFIG: folder }).manifest('1');
    expect(mirror.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test('may have a path in front', async () => {
    mirror.add('1', [layer]);
    await mirrored({}, '/hub/').manifest('1');
    expect(mirror.requests[0]!.path).toBe('/v2/hub/team/thing/manifests/1');
  });

  test('are not pushed to', async () => {
    expect(await mirrored().hasBlob(digest)).toBe(true);
    expect(mirror.requests).toEqual([]);
  });

  test('of docker.io: TINYCTR_MIRROR', async () => {
    mirror.add('1', [layer]);
    await repository('docker.io', { env: { TINYCTR_MIRROR: `http://${mirror.host}` } }).manifest('1');
    const made = repository(origin.host, { env: { TINYCTR_MIRROR: `http://${mirror.host}` } });
    await made.manifest('1');
    expect(mirror.requests).toHaveLength(1);
  });

  test.each([
    [{ mirors: {} }, '/mirors is not known; only /mirrors is'],
    [[], '/ is not an object'],
    [{ mirrors: [] }, '/mirrors is not an object'],
    [{ mirrors: { 'a.b/c': 'http://x' } }, '/mirrors/a.b~1c is not a list of URLs'],
    [{ mirrors: { 'docker.io': ['10.0.0.1:5000'] } }, 'no URL such as http://10.0.0.1:5000'],
    [{ mirrors: { 'docker.io': ['http://u:p@x'] } }, 'with a user in it: use tinyctr login x'],
  ])('%j is refused', (content, text) => {
    expect(() => repository('x.example', { mirrors: content })).toThrow(text);
  });
});
