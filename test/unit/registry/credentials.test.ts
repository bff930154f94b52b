/** Whose credentials are taken, when several files have some. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fileOfSudoUser, findCredentials } from '../../../src/registry/credentials.ts';
import { defaultSettings } from '../../../src/registry/settings.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/tinyctr-credentials-`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const entry = (user: string) => ({ auth: btoa(`${user}:pw`) });

function write(name: string, content: unknown): void {
  mkdirSync(dirname(`${folder}/${name}`), { recursive: true });
  writeFileSync(`${folder}/${name}`, typeof content === 'string' ? content : JSON.stringify(content));
}

async function userFor(registry: string, path = 'team/thing', more: Record<string, string> = {}): Promise<unknown> {
  const env = { HOME: folder, XDG_RUNTIME_DIR: `${folder}/run`, ...more };
  const found = await findCredentials({ registry, path }, { ...defaultSettings(), env });
  return found?.kind === 'password' ? found.user : found;
}

test('nobody', async () => {
  expect(await userFor('docker.io')).toBeUndefined();
  write('.docker/config.json', '');
  expect(await userFor('docker.io')).toBeUndefined();
});

test('docker first, then podman of the session, then podman of the user', async () => {
  write('.config/containers/auth.json', { auths: { 'x.example': entry('lasting') } });
  expect(await userFor('x.example')).toBe('lasting');
  write('run/containers/auth.json', { auths: { 'x.example': entry('session') } });
  expect(await userFor('x.example')).toBe('session');
  write('named.json', { auths: { 'x.example': entry('named') } });
  expect(await userFor('x.example', 'a', { REGISTRY_AUTH_FILE: `${folder}/named.json` })).toBe('named');
  write('.docker/config.json', { auths: { 'y.example': entry('other') } });
  expect(await userFor('x.example')).toBe('session');
  write('.docker/config.json', { auths: { 'x.example': entry('docker') } });
  expect(await userFor('x.example')).toBe('docker');
  write('elsewhere/config.json', { auths: { 'x.example': entry('elsewhere') } });
  expect(await userFor('x.example', 'a', { DOCKER_CONFIG: `${folder}/elsewhere` })).toBe('elsewhere');
});

test('Docker Hub under the names that it had, and no other registry under its', async () => {
  for (const key of ['https://index.docker.io/v1/', 'docker.io', 'index.docker.io']) {
    write('.docker/config.json', { auths: { [key]: entry('hub') } });
    expect(await userFor('docker.io'), key).toBe('hub');
    expect(await userFor('x.example'), key).toBeUndefined();
  }
});

test('keys with a scheme and a path, of old clients; not of other ports', async () => {
  write('.docker/config.json', { auths: { 'https://x.example/v1/': entry('old'), 'x.example:5000': entry('port') } });
  expect(await userFor('x.example')).toBe('old');
  expect(await userFor('x.example:5000')).toBe('port');
  expect(await userFor('x.example:5001')).toBeUndefined();
  expect(await userFor('example')).toBeUndefined();
});

test("podman's keys with a namespace: the longest counts", async () => {
  const auths = { 'x.example': entry('all'), 'x.example/team': entry('team'), 'x.example/team/thing': entry('thing') };
  write('.docker/config.json', { auths });
  expect(await userFor('x.example', 'team/thing')).toBe('thing');
  expect(await userFor('x.example', 'team/other')).toBe('team');
  expect(await userFor('x.example', 'teams/thing')).toBe('all');
});

test('tokens, and entries that are empty', async () => {
  const auths = {
    a: { identitytoken: 'i' },
    b: { registrytoken: 'r' },
    c: {},
    d: { auth: btoa('only') },
    e: { username: 'u', password: 'p' },
  };
  write('.docker/config.json', { auths });
  expect(await userFor('a')).toMatchObject({ kind: 'identityToken', token: 'i' });
  expect(await userFor('b')).toMatchObject({ kind: 'registryToken', token: 'r' });
  expect(await userFor('c')).toBeUndefined();
  expect(await userFor('d')).toBeUndefined();
  expect(await userFor('e')).toBe('u');
});

test.each([
  '{',
  '[]',
  '{"auths": []}',
  '{"auths": {"x": "secret"}}',
  '{"auths": {"x": {"auth": 5}}}',
  '{"credHelpers": {"x": 1}}',
  '{"credsStore": 1}',
])('%s is damaged', async (text) => {
  write('.docker/config.json', text);
  await expect(userFor('x.example')).rejects.toThrow(/config\.json is damaged: (?!.*secret)/);
});

test('a folder in place of a file is said to be one', async () => {
  mkdirSync(`${folder}/.docker/config.json`, { recursive: true });
  await expect(userFor('x.example')).rejects.toThrow(/can't be read/);
});

test('with sudo: who called it has credentials that are not read, and is told', async () => {
  write('passwd', `root:x:0:0::/root:/bin/sh\njoe:x:4711:4711::${folder}/joe:/bin/sh\n`);
  write('joe/.docker/config.json', { auths: { 'x.example': entry('joe') } });
  const env = { HOME: folder, SUDO_UID: '4711' };
  expect(fileOfSudoUser('x.example', env, `${folder}/passwd`)).toBe(`${folder}/joe/.docker/config.json`);
  expect(fileOfSudoUser('y.example', env, `${folder}/passwd`)).toBeUndefined();
  expect(fileOfSudoUser('x.example', { HOME: folder }, `${folder}/passwd`)).toBeUndefined();
  expect(fileOfSudoUser('x.example', { ...env, HOME: `${folder}/joe` }, `${folder}/passwd`)).toBeUndefined();
  expect(await userFor('x.example', 'a', { SUDO_UID: '4711' })).toBeUndefined();
});
