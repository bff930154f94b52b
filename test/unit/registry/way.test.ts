/** Which way a request takes: proxies and their exceptions, loopback, and names of registries. */
import { expect, test } from 'vitest';
import { isLoopback, originOf } from '../../../src/registry/endpoint.ts';
import { registryNamed } from '../../../src/registry/login.ts';
import { proxyFor } from '../../../src/registry/proxy.ts';

const proxied = (url: string, NO_PROXY: string) =>
  proxyFor(new URL(url), { HTTPS_PROXY: 'proxy:3128', HTTP_PROXY: 'http://plain:1', NO_PROXY })?.host;

test.each([
  ['', 'https://a.example/', 'proxy:3128'],
  ['', 'http://a.example/', 'plain:1'],
  ['*', 'https://a.example/', undefined],
  ['a.example', 'https://a.example/', undefined],
  ['A.Example', 'https://a.example/', undefined],
  ['example', 'https://a.example/', undefined],
  ['ample', 'https://a.example/', 'proxy:3128'],
  ['.example', 'https://a.example/', undefined],
  ['.a.example', 'https://a.example/', 'proxy:3128'],
  ['*.example', 'https://a.example/', undefined],
  ['a.example:443', 'https://a.example/', undefined],
  ['a.example:5000', 'https://a.example/', 'proxy:3128'],
  ['x, 10.0.0.0/8', 'https://10.1.2.3:5000/', undefined],
  ['10.0.0.0/33', 'https://10.1.2.3/', 'proxy:3128'],
  ['10.0.0.0/8', 'https://11.1.2.3/', 'proxy:3128'],
  ['10.1.2.3', 'https://10.1.2.3/', undefined],
  ['2.3', 'https://10.1.2.3/', 'proxy:3128'],
  ['fd00::/8', 'https://[fd00::1]/', undefined],
  ['fd00::1', 'https://[fd00::1]:5000/', undefined],
  ['', 'https://127.0.0.1:5000/', undefined],
  ['', 'https://localhost/', undefined],
])('NO_PROXY=%s: %s by %s', (exceptions, url, proxy) => {
  expect(proxied(url, exceptions)).toBe(proxy);
});

test('capitals count first, as in Go; a proxy has to be one', () => {
  const url = new URL('https://a.example/');
  expect(proxyFor(url, { HTTPS_PROXY: 'http://a', https_proxy: 'http://b' })?.host).toBe('a');
  expect(proxyFor(url, { https_proxy: 'http://b' })?.host).toBe('b');
  expect(proxyFor(url, { HTTP_PROXY: 'http://b' })).toBeUndefined();
  expect(() => proxyFor(url, { HTTPS_PROXY: 'http://' })).toThrow('no http or https proxy');
});

test('loopback is known by its name, and by nothing that begins like it', () => {
  for (const host of ['localhost', 'localhost:5000', '127.0.0.1', '127.9.9.9:80', '[::1]:5000', '[::1]'])
    expect(isLoopback(host), host).toBe(true);
  for (const host of ['127.0.0.1.example', 'localhost.example:5000', '10.0.0.1', '[::2]', '127.example'])
    expect(isLoopback(host), host).toBe(false);
});

test('only loopback, or whoever says --insecure, may be spoken to without TLS', () => {
  const scheme = (domain: string, insecure: boolean) => originOf({ domain, path: 'x' }, insecure).scheme;
  expect(scheme('ghcr.io', false)).toBe('https');
  expect(scheme('ghcr.io', true)).toBe('any');
  expect(scheme('localhost:5000', false)).toBe('any');
  expect(originOf({ domain: 'docker.io', path: 'x' }, false).host).toBe('registry-1.docker.io');
});

test.each([
  [undefined, 'docker.io'],
  ['https://index.docker.io/v1/', 'docker.io'],
  ['docker.io', 'docker.io'],
  ['registry-1.docker.io', 'docker.io'],
  ['https://ghcr.io/', 'ghcr.io'],
  ['ghcr.io/me', 'ghcr.io'],
  ['localhost:5000', 'localhost:5000'],
  ['[::1]:5000', '[::1]:5000'],
])('login %s is for %s', (server, registry) => {
  expect(registryNamed(server)).toBe(registry);
});

test.each(['', 'registry', 'a b', 'user@host.example', '-x'])('login %j is for nobody', (server) => {
  expect(() => registryNamed(server)).toThrow();
});
