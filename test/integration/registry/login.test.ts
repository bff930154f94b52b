/** login and logout, by bin/tinyctr: what they keep, where, and that podman and skopeo find it there. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseReference } from '../../../src/image/reference.ts';
import { Repository } from '../../../src/registry/client.ts';
import { HostileRegistry } from '../../support/hostile-registry.ts';
import { needs } from '../../support/need.ts';
import { Pty } from '../../support/pty.ts';
import { REGISTRY_NEEDS, Registry, writeLayout } from '../../support/registry.ts';
import { checkout, type Result, runProgram } from '../../support/tinyctr.ts';
import { makeCertificate } from '../../support/tls.ts';
import { TokenServer } from '../../support/token-server.ts';

const PASSWORD = 'open sesame: ü';
const user = { name: 'joe', password: PASSWORD };

describe('login', needs({ command: [...REGISTRY_NEEDS.command, 'openssl', 'podman'] }), () => {
  const scratch = mkdtempSync(`${tmpdir()}/tinyctr-login-`);
  let registry: Registry;
  /** A new one for each test. */
  let folder: string;
  let config: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    registry = await Registry.start({ user });
    writeLayout(`${scratch}/layout`, [Buffer.alloc(10240)]);
    registry.fill(`oci:${scratch}/layout:latest`, 'team/thing:1');
  });
  beforeEach(() => {
    folder = mkdtempSync(`${scratch}/home-`);
    config = `${folder}/.docker/config.json`;
    env = { HOME: folder, XDG_RUNTIME_DIR: `${folder}/run`, DOCKER_CONFIG: '', REGISTRY_AUTH_FILE: '' };
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(scratch, { recursive: true, force: true });
  });

  const tinyctr = (input: string, ...words: string[]): Promise<Result> =>
    runProgram(`${checkout}/bin/tinyctr`, words, { input, env });
  const joe = (...words: string[]) =>
    tinyctr(`${PASSWORD}\n`, 'login', '-u', 'joe', '--password-stdin', ...words, registry.host);
  const written = () => JSON.parse(readFileSync(config, 'utf8'));

  /** docker-credential-fake: keeps everything in one file. */
  function helper(): string {
    const bin = `${folder}/bin`;
    mkdirSync(bin);
    const script = `#!/bin/sh
case $1 in
store) cat > ${folder}/kept ;;
get) read -r server; grep -qs "$server" ${folder}/kept && cat ${folder}/kept || { echo credentials not found in native keychain; exit 1; } ;;
erase) rm ${folder}/kept 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
esac`;
    writeFileSync(`${bin}/docker-credential-fake`, script);
    chmodSync(`${bin}/docker-credential-fake`, 0o755);
    env.PATH = `${bin}:${process.env.PATH}`;
    return bin;
  }

  test('is tried, and kept as docker keeps it; pull, podman and skopeo find it; logout takes it away', async () => {
    mkdirSync(`${folder}/.docker`);
    writeFileSync(config, '{"auths": {"x.example": {"auth": "YTpi"}}, "detachKeys": "ctrl-x", "psFormat": "x"}', {
      mode: 0o644,
    });
    const { code, stdout, stderr } = await joe();
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Login Succeeded\n' });
    expect(stderr).toContain(`stored unencrypted in ${config}`);
    expect(statSync(config).mode & 0o7777).toBe(0o600);
    expect(written()).toEqual({
      auths: {
        'x.example': { auth: 'YTpi' },
        [registry.host]: { auth: Buffer.from(`joe:${PASSWORD}`).toString('base64') },
      },
      detachKeys: 'ctrl-x',
      psFormat: 'x',
    });
    const repository = new Repository(parseReference(`${registry.host}/team/thing`), {
      settings: { env, mirrorsFile: '/none' },
    });
    await repository.manifest('1');
    repository.close();
    const skopeo = await runProgram('skopeo', [
      'inspect',
      '--tls-verify=false',
      '--authfile',
      config,
      `docker://${registry.host}/team/thing:1`,
    ]);
    expect(skopeo.code).toBe(0);
    const out = await tinyctr('', 'logout', registry.host);
    expect(out.stdout).toBe(`Removing login credentials for ${registry.host}\n`);
    expect(written()).toEqual({ auths: { 'x.example': { auth: 'YTpi' } }, detachKeys: 'ctrl-x', psFormat: 'x' });
    expect((await tinyctr('', 'logout', registry.host)).stdout).toBe(`Not logged in to ${registry.host}\n`);
    expect(readdirSync(`${folder}/.docker`)).toEqual(['config.json']);
  });

  test('with a wrong password changes nothing', async () => {
    const { code, stderr } = await tinyctr('wrong', 'login', '-u', 'joe', '--password-stdin', registry.host);
    expect(code).toBe(125);
    expect(stderr).toContain(`tinyctr: ${registry.host} refuses user "joe" with this password\n`);
    expect(existsSync(`${folder}/.docker`)).toBe(false);
  });

  test('where nobody listens changes nothing', async () => {
    const { code, stderr } = await tinyctr('x', 'login', '-u', 'joe', '--password-stdin', '127.0.0.1:1');
    expect(code).toBe(125);
    expect(stderr).toMatch(/^tinyctr: 127\.0\.0\.1:1: nothing listens there/);
    expect(existsSync(`${folder}/.docker`)).toBe(false);
  });

  test('a link to config.json stays a link, and a damaged file is left alone, unquoted', async () => {
    mkdirSync(`${folder}/.docker`);
    writeFileSync(`${folder}/real`, '{"auths": {"x": {"auth": "c2VjcmV0"}');
    symlinkSync('../real', config);
    const { code, stderr } = await joe();
    expect(code).toBe(125);
    expect(stderr).toBe(`tinyctr: ${config} is damaged: it is no JSON\n`);
    writeFileSync(`${folder}/real`, '{}');
    expect((await joe()).code).toBe(0);
    expect(Object.keys(JSON.parse(readFileSync(`${folder}/real`, 'utf8')).auths)).toEqual([registry.host]);
    expect(readdirSync(folder).sort()).toEqual(['.docker', 'real']);
  });

  test('with a helper the password is in no file of ours', async () => {
    helper();
    mkdirSync(`${folder}/.docker`);
    writeFileSync(config, JSON.stringify({ credHelpers: { [registry.host]: 'fake' } }));
    const { code, stderr } = await joe();
    expect(code).toBe(0);
    expect(stderr).not.toContain('unencrypted');
    expect(written()).toEqual({ auths: { [registry.host]: {} }, credHelpers: { [registry.host]: 'fake' } });
    expect(JSON.parse(readFileSync(`${folder}/kept`, 'utf8'))).toEqual({
      ServerURL: registry.host,
      Username: 'joe',
      Secret: PASSWORD,
    });
    const repository = new Repository(parseReference(`${registry.host}/team/thing`), {
      settings: { env, mirrorsFile: '/none' },
    });
    await repository.manifest('1');
    repository.close();
    expect((await tinyctr('', 'logout', registry.host)).stdout).toContain('Removing');
    expect(existsSync(`${folder}/kept`)).toBe(false);
  });

  test('a helper that is not there: pull warns and asks anonymously, login says so', async () => {
    mkdirSync(`${folder}/.docker`);
    writeFileSync(config, JSON.stringify({ credsStore: 'desktop' }));
    const warnings: string[] = [];
    const settings = { env, mirrorsFile: '/none', warn: (text: string) => warnings.push(text) };
    const repository = new Repository(parseReference(`${registry.host}/team/thing`), { settings });
    await expect(repository.manifest('1')).rejects.toThrow(/does not let anonymous users pull team\/thing:1/);
    repository.close();
    expect(warnings).toEqual([
      `docker-credential-desktop failed: there is no such program on the PATH; ${registry.host} is asked without its credentials`,
    ]);
    const { code, stderr } = await joe();
    expect(code).toBe(125);
    expect(stderr).toBe('tinyctr: docker-credential-desktop failed: there is no such program on the PATH\n');
    expect(written()).toEqual({ credsStore: 'desktop' });
  });

  test("podman's credentials are used when docker has none", async () => {
    const file = `${folder}/auth.json`;
    const made = await runProgram(
      'podman',
      ['login', '--tls-verify=false', '--authfile', file, '-u', 'joe', '--password-stdin', registry.host],
      { input: PASSWORD, env },
    );
    expect(made).toMatchObject({ code: 0 });
    env.REGISTRY_AUTH_FILE = file;
    const repository = new Repository(parseReference(`${registry.host}/team/thing`), {
      settings: { env, mirrorsFile: '/none' },
    });
    await repository.manifest('1');
    repository.close();
    expect((await tinyctr('', 'logout', registry.host)).stderr).toBe(
      `${file} still has some, of podman's: podman logout ${registry.host}\n`,
    );
  });

  test('an identity token is kept in place of the password', async () => {
    const tokens = await TokenServer.start();
    const hostile = await HostileRegistry.start();
    tokens.users.set('joe', 'pw');
    tokens.givesIdentityTokens = true;
    hostile.fault = tokens.guard;
    hostile.add('1', []);
    expect((await tinyctr('pw', 'login', '-u', 'joe', '--password-stdin', hostile.host)).code).toBe(0);
    expect(written().auths[hostile.host]).toEqual({ auth: btoa('joe:'), identitytoken: 'identity-of-joe' });
    const repository = new Repository(parseReference(`${hostile.host}/team/thing`), {
      settings: { env, mirrorsFile: '/none' },
    });
    await repository.manifest('1');
    repository.close();
    await Promise.all([tokens.stop(), hostile.stop()]);
  });

  test('NODE_EXTRA_CA_CERTS and --insecure', async () => {
    const tls = makeCertificate(folder);
    const hostile = await HostileRegistry.start({ cert: tls.cert, key: tls.keyText });
    const words = ['login', '-u', 'joe', '--password-stdin', hostile.host];
    env.NODE_EXTRA_CA_CERTS = '';
    expect((await tinyctr('pw', ...words)).stderr).toMatch(/its certificate is not trusted/);
    expect((await tinyctr('pw', ...words, '--insecure')).code).toBe(0);
    env.NODE_EXTRA_CA_CERTS = tls.authority;
    expect((await tinyctr('pw', ...words)).code).toBe(0);
    await hostile.stop();
  });

  test.each([
    [['--password-stdin'], '--password-stdin needs --username'],
    [['-u', 'joe', '-p', 'x', '--password-stdin'], '--password and --password-stdin exclude each other'],
    [['-u', 'joe'], 'standard input is no terminal to ask at'],
    [['-u', 'joe', '--password-stdin', 'my registry'], 'invalid reference format'],
    [['-u', 'joe', '--password-stdin', 'myregistry'], '"myregistry" is no registry'],
    [['-u', 'joe', '--password-stdin', '127.0.0.1:1'], 'no password was given'],
  ])('%j is refused', async (words, text) => {
    const { code, stderr } = await tinyctr('', 'login', ...words);
    expect(code).toBe(125);
    expect(stderr).toContain(text);
    expect(existsSync(`${folder}/.docker`)).toBe(false);
  });

  describe('at a terminal', () => {
    let pty: Pty;
    afterEach(async () => {
      await pty.ended;
      expect(pty.settingsAfter).toBe(pty.settings);
      Object.assign(process.env, { HOME: home });
    });
    const home = process.env.HOME;
    const start = (...words: string[]) => {
      process.env.HOME = folder; // the terminal's program has our environment
      pty = new Pty([`${checkout}/bin/tinyctr`, 'login', ...words, registry.host]);
    };

    test('asks, and shows the name but not the password', async () => {
      start();
      await pty.shows(/Username for .*: /);
      pty.type('jox\x7fe\r');
      await pty.shows(/Password: /);
      pty.type(`${Buffer.from(PASSWORD).toString('utf8')}\r`);
      await pty.shows(/Login Succeeded/);
      expect(await pty.ended).toBe(0);
      expect(pty.screen).not.toContain('sesame');
      expect(written().auths[registry.host].auth).toBe(Buffer.from(`joe:${PASSWORD}`).toString('base64'));
    });

    test('proposes the name that it knows', async () => {
      await joe();
      start();
      await pty.shows(/\(joe\): /);
      pty.type('\r');
      await pty.shows(/Password: /);
      pty.type(`${PASSWORD}\r`);
      expect(await pty.ended).toBe(0);
    });

    test('Ctrl-C and the end of input change nothing', async () => {
      start('-u', 'joe');
      await pty.shows(/Password: /);
      pty.type('half\x03');
      expect(await pty.ended).toBe(130);
      expect(pty.screen).toContain('interrupted: nothing was changed');
      start();
      await pty.shows(/Username/);
      pty.type('\x04');
      expect(await pty.ended).toBe(125);
      expect(existsSync(`${folder}/.docker`)).toBe(false);
    });
  });
});
