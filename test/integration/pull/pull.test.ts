/** pull, and run that pulls, against Debian's docker-registry filled by skopeo. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { Pty } from '../../support/pty.ts';
import { REGISTRY_NEEDS, Registry, sha256, writeLayout } from '../../support/registry.ts';
import { Engine } from '../../support/tinyctr.ts';

const folder = mkdtempSync(`${tmpdir()}/tinyctr-pull-`);
const lower = a.archive(a.directory('etc/'), a.file('etc/one', '1'), a.file('etc/gone', 'x'));
const upper = a.archive(a.directory('etc/'), a.file('etc/two', '2'), a.file('etc/.wh.gone'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('pull', needs({ root: true, ...REGISTRY_NEEDS }), () => {
  let registry: Registry;
  let engine: Engine;
  let name: string;
  beforeAll(async () => {
    registry = await Registry.start();
    writeLayout(`${folder}/layout`, [lower, upper], 'latest', { Cmd: ['/bin/sh'], Labels: { a: 'b' } });
    registry.fill(`oci:${folder}/layout:latest`, 'team/thing:latest');
    name = `${registry.host}/team/thing`;
  });
  afterAll(() => registry?.stop());
  beforeEach(() => {
    engine = new Engine();
  });
  afterEach(() => engine.remove());

  const requests = (pattern: RegExp) => registry.log.filter((line) => pattern.test(line)).length;
  const inspected = async (image: string) => JSON.parse((await engine.run('inspect', image)).stdout)[0];
  const layerFiles = () =>
    readdirSync(`${engine.root}/layers`).map((layer) => readdirSync(`${engine.root}/layers/${layer}/etc`));

  test('docker’s lines, an image with its digest, layers in overlay form', async () => {
    const { code, stdout, stderr } = await engine.run('pull', name);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { RepoTags, RepoDigests, RootFS, Config } = await inspected(name);
    const digest = RepoDigests[0].split('@')[1];
    const lines = stdout.split('\n');
    expect(lines.slice(0, 2)).toEqual(['Using default tag: latest', `latest: Pulling from ${name}`]);
    expect(lines.slice(2, 4).sort()).toEqual(
      [...lines.slice(2, 4)].filter((l) => /^[0-9a-f]{12}: Pull complete$/.test(l)).sort(),
    );
    expect(lines.slice(4)).toEqual([
      `Digest: ${digest}`,
      `Status: Downloaded newer image for ${name}:latest`,
      `${name}:latest`,
      '',
    ]);
    expect(RepoTags).toEqual([`${name}:latest`]);
    expect(RootFS.Layers).toEqual([sha256(lower), sha256(upper)]);
    expect(Config).toEqual({ Cmd: ['/bin/sh'] });
    expect(layerFiles().map((files) => files.sort())).toEqual(
      expect.arrayContaining([
        ['gone', 'one'],
        ['gone', 'two'],
      ]),
    );
    const { stdout: table } = await engine.run('images', '--digests');
    expect(table).toContain(digest);
  });

  test('again: nothing but the manifest is asked for, and the image is up to date', async () => {
    await engine.run('pull', name);
    const before = requests(/"GET \/v2\/\S+\/blobs\/\S+ HTTP/);
    const { stdout } = await engine.run('pull', name);
    expect(stdout).toContain('Already exists');
    expect(stdout).toContain(`Status: Image is up to date for ${name}:latest`);
    expect(requests(/"GET \/v2\/\S+\/blobs\/\S+ HTTP/)).toBe(before);
  });

  test('a layer that another image has brought is not fetched again; a new image under the old name is', async () => {
    await engine.run('pull', name);
    writeLayout(`${folder}/second`, [lower, a.archive(a.file('new', 'n'))]);
    registry.fill(`oci:${folder}/second:latest`, 'team/moving:latest');
    const moving = `${registry.host}/team/moving`;
    const before = requests(/"GET \/v2\/\S+\/blobs\/\S+ HTTP/);
    const first = await engine.run('pull', moving);
    expect(first.stdout.match(/Already exists/g)).toHaveLength(1);
    expect(requests(/"GET \/v2\/\S+\/blobs\/\S+ HTTP/)).toBe(before + 2); // a configuration and a layer
    const { Id: old } = await inspected(moving);
    registry.fill(`oci:${folder}/layout:latest`, 'team/moving:latest');
    const second = await engine.run('pull', moving);
    expect(second.stdout).toContain('Status: Downloaded newer image');
    expect((await inspected(moving)).Id).not.toBe(old);
    expect((await inspected(old)).RepoTags).toEqual([]);
  });

  test('by digest; -q prints the name only; a tag that is not there is one line', async () => {
    await engine.run('pull', '-q', name);
    const digest = (await inspected(name)).RepoDigests[0].split('@')[1];
    await engine.run('rmi', name);
    expect(readdirSync(`${engine.root}/blobs/sha256`)).toEqual([]);
    const byDigest = await engine.run('pull', '-q', `${name}@${digest}`);
    expect(byDigest).toMatchObject({ code: 0, stdout: `${name}@${digest}\n`, stderr: '' });
    expect((await inspected(`${name}@${digest}`)).RepoTags).toEqual([]);
    const missing = await engine.run('pull', `${name}:nosuch`);
    expect(missing.code).toBe(125);
    expect(missing.stderr).toMatch(/^tinyctr: .*can't pull team\/thing:nosuch: there is none.*\n$/);
  });

  test('what came is the same tree as skopeo and tar make of it', async () => {
    await engine.run('pull', name);
    const image = JSON.parse(readFileSync(`${engine.root}/images/${readdirSync(`${engine.root}/images`)[0]}`, 'utf8'));
    for (const { blob, diffId } of image.content) {
      const file = `${engine.root}/blobs/sha256/${blob.digest.slice(7)}`;
      expect(sha256(readFileSync(file))).toBe(blob.digest);
      expect(spawnSync('sh', ['-c', `gzip -dc ${file} | sha256sum`]).stdout.toString()).toContain(diffId.slice(7));
    }
    expect(image.manifest.digest).toBe(
      sha256(readFileSync(`${engine.root}/blobs/sha256/${image.manifest.digest.slice(7)}`)),
    );
  });

  test('at a terminal with less lines than layers: bars that fit, and the same end', async () => {
    const layers = Array.from({ length: 9 }, (_, i) => a.archive(a.file(`f${i}`, `${i}`.repeat(50_000))));
    writeLayout(`${folder}/nine`, layers);
    registry.fill(`oci:${folder}/nine:latest`, 'team/nine:1');
    const pty = new Pty([...engine.command, 'pull', `${registry.host}/team/nine:1`], { rows: 6, columns: 40 });
    expect(await pty.ended).toBe(0);
    const lines = pty.screen.replaceAll(/\x1b\[[0-9]*[AJ]/g, '').split(/\r?\n/);
    expect(lines.filter((line) => /^[0-9a-f]{12}: |more: /.test(line)).every((line) => line.length < 40)).toBe(true);
    expect(lines.some((line) => line.startsWith('6 more: 6 pull complete'))).toBe(true);
    expect(pty.screen).toContain(`Status: Downloaded newer image for ${registry.host}/team/nine:1`);
    expect(pty.settingsAfter).toBe(pty.settings);
  });

  describe('run', () => {
    test('a missing image is fetched by the way, and told of on standard error only', async () => {
      await engine.prepare();
      const rootfs = engine.rootfs();
      spawnSync('tar', ['-C', rootfs, '-cf', `${folder}/rootfs.tar`, '.']);
      writeLayout(`${folder}/busybox`, [readFileSync(`${folder}/rootfs.tar`)]);
      registry.fill(`oci:${folder}/busybox:latest`, 'team/busybox:1');
      const image = `${registry.host}/team/busybox:1`;
      const first = await engine.run('run', '--rm', image, 'echo', 'it runs');
      expect(first).toMatchObject({ code: 0, stdout: 'it runs\n' });
      expect(first.stderr).toMatch(
        new RegExp(
          `^Unable to find image '${image}' locally\n1: Pulling from .*\n[0-9a-f]{12}: Pull complete\nDigest: .*\nStatus: Downloaded newer image for ${image}\n`,
        ),
      );
      expect(await engine.run('run', '--rm', image, 'echo', 'again')).toMatchObject({ stdout: 'again\n', stderr: '' });
      const always = await engine.run('run', '--rm', '--pull', 'always', image, 'echo', 'always');
      expect(always).toMatchObject({ code: 0, stdout: 'always\n' });
      expect(always.stderr).toContain('Image is up to date');
      const quiet = await engine.run('run', '--rm', '--pull=always', '-q', image, 'true');
      expect(quiet).toMatchObject({ code: 0, stdout: '', stderr: `${image}\n` });
    });

    test('never fetches nothing, and a failed pull starts nothing', async () => {
      const never = await engine.run('run', '--rm', '--pull', 'never', `${name}:latest`, 'true');
      expect(never).toMatchObject({ code: 125, stdout: '' });
      expect(never.stderr).toContain(
        `Unable to find image '${name}:latest' locally, and --pull never forbids to fetch it`,
      );
      const failed = await engine.run('run', '--rm', `${name}:nosuch`, 'true');
      expect(failed).toMatchObject({ code: 125, stdout: '' });
      expect(failed.stderr).toMatch(/^Unable to find image .* locally\ntinyctr: .*there is none.*\n$/);
      expect(engine.containers()).toEqual([]);
      const word = await engine.run('run', '--pull', 'often', name);
      expect(word.stderr).toContain('--pull often: it can be missing, always, never');
    });

    test('nobody listens: the error has the ways by file', async () => {
      const { stderr, code } = await engine.run('run', '127.0.0.1:1/x', 'true');
      expect(code).toBe(125);
      expect(stderr).toContain('nothing listens there');
      expect(stderr).toContain('docker save 127.0.0.1:1/x:latest -o image.tar');
    });

    test('an image that is here: the start opens nothing of pull’s', needs({ command: 'strace' }), async () => {
      await engine.prepare();
      const trace = `${engine.folder}/trace`;
      spawnSync('strace', [
        '-f',
        '-qq',
        '-e',
        'trace=execve',
        '-o',
        trace,
        ...engine.command,
        'run',
        '--rm',
        'busybox',
        'true',
      ]);
      expect(existsSync(trace) && readFileSync(trace, 'utf8')).not.toContain('"pull"');
    });
  });
});
