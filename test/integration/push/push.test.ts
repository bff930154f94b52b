/** push, against Debian's docker-registry; what others make of it, and what they push. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { listImages } from '../../../src/image/records.ts';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { PodmanImages } from '../../support/podman-images.ts';
import { Pty } from '../../support/pty.ts';
import { REGISTRY_NEEDS, Registry } from '../../support/registry.ts';
import { dockerArchive, type HandmadeImage } from '../../support/saved-image.ts';
import { Engine, type Result, until } from '../../support/tinyctr.ts';

const lower = a.archive(a.directory('etc/'), a.file('etc/one', '1'));
const upper = a.archive(a.directory('etc/'), a.file('etc/two', '2'));

/** Bytes that don't compress. */
const noise = randomBytes;

describe('push', needs({ root: true, ...REGISTRY_NEEDS }), () => {
  let registry: Registry;
  let engine: Engine;
  let other: Engine;
  let number = 0;
  /** A repository that no other test has. */
  let name: string;

  beforeAll(async () => {
    registry = await Registry.start();
  });
  afterAll(() => registry?.stop());
  beforeEach(() => {
    engine = new Engine();
    other = new Engine();
    name = `${registry.host}/test${++number}/image`;
  });
  afterEach(() => {
    engine.remove();
    other.remove();
  });

  const must = async (at: Engine, ...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await at.run(...words);
    if (code !== 0) throw new Error(`tinyctr ${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  const load = async (at: Engine, ...images: HandmadeImage[]) => {
    const { code, stderr } = await at.runWith({ input: dockerArchive(...images) }, 'load');
    expect([code, stderr]).toEqual([0, '']);
  };
  const digestIn = (text: string) => /digest: (sha256:[0-9a-f]{64}) size: [0-9]+\n$/.exec(text)?.[1];
  const skopeo = (...words: string[]) =>
    execFileSync('skopeo', ['--insecure-policy', ...words], { encoding: 'utf8', stdio: 'pipe' });
  const inspected = (image: string, ...words: string[]) =>
    skopeo('inspect', '--tls-verify=false', ...words, `docker://${image}`);
  const blobs = (at: Engine) => readdirSync(`${at.root}/blobs/sha256`).filter((file) => !file.includes('.'));

  test("docker's lines; the digest is what the registry says, and is the image's from then on", async () => {
    await load(engine, { layers: [lower, upper, lower], tags: [name] });
    const { code, stdout, stderr } = await engine.run('push', name);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.split('\n');
    expect(lines.slice(0, 2)).toEqual(['Using default tag: latest', `The push refers to repository [${name}]`]);
    const ids = [lower, upper].map((layer) => createHash('sha256').update(layer).digest('hex').slice(0, 12));
    expect(lines.slice(2, 4).sort()).toEqual(ids.map((id) => `${id}: Pushed`).sort());
    const manifest = inspected(`${name}:latest`, '--raw');
    const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
    expect(lines.slice(4)).toEqual([`latest: digest: ${digest} size: ${Buffer.byteLength(manifest)}`, '']);
    expect(JSON.parse(await must(engine, 'inspect', name))[0].RepoDigests).toEqual([`${name}@${digest}`]);
    expect(JSON.parse(manifest)).toMatchObject({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      layers: [{}, {}, {}],
    });
    expect(await must(other, 'pull', `${name}@${digest}`)).toContain(digest);
    expect(listImages(other.root)[0]!.id).toBe(listImages(engine.root)[0]!.id);
  });

  test('what is there is not sent again; another repository of the same registry gives it', async () => {
    await load(engine, { layers: [lower, a.archive({ name: 'noise', data: noise(1000) })], tags: [name] });
    await must(engine, 'push', name);
    const uploads = () => registry.log.filter((line) => /"PUT \S*\/blobs\/uploads\//.test(line)).length;
    const before = uploads();
    expect((await must(engine, 'push', name)).match(/: Layer already exists$/gm)).toHaveLength(2);
    expect(uploads()).toBe(before);
    const path = `test${number}/image`;
    await must(engine, 'tag', name, `${name}/mounted:x`);
    const mounted = await must(engine, 'push', `${name}/mounted:x`);
    expect(mounted.match(new RegExp(`: Mounted from ${path}$`, 'gm'))).toHaveLength(2);
    expect(uploads()).toBe(before + 1); // the configuration
    await must(other, 'pull', `${name}/mounted:x`);
    // With the last tag of a repository its digests go as well, whatever other repositories have.
    expect((await must(engine, 'rmi', name)).match(/^Untagged: .*@sha256:/gm)).toHaveLength(1);
    expect(JSON.parse(await must(engine, 'inspect', `${name}/mounted:x`))[0].RepoDigests).toHaveLength(1);
    expect(await must(engine, 'rmi', `${name}/mounted:x`)).toContain('Deleted: sha256:');
  });

  test('two machines with the same image push the same bytes', async () => {
    await load(engine, { layers: [lower, upper], tags: [name] });
    await load(other, { layers: [lower, upper], tags: [name] });
    const first = await must(engine, 'push', name);
    const second = await must(other, 'push', name);
    expect(digestIn(second)).toBe(digestIn(first));
    expect(second.match(/: Layer already exists$/gm)).toHaveLength(2);
  });

  test.each(['v2s2', 'oci'])('an image that came by a manifest (%s) goes by the same one', async (format) => {
    writeFileSync(`${engine.folder}/made.tar`, dockerArchive({ layers: [lower, upper], tags: ['made'] }));
    registry.fill(`docker-archive:${engine.folder}/made.tar`, `test${number}/source`, '--format', format);
    await must(engine, 'pull', `${registry.host}/test${number}/source`);
    await must(engine, 'tag', `${registry.host}/test${number}/source`, name);
    await must(engine, 'push', name);
    expect(inspected(name, '--raw')).toBe(inspected(`${registry.host}/test${number}/source`, '--raw'));
    // Also by way of a file.
    await must(engine, 'save', '--format', 'oci-archive', '-o', `${engine.folder}/saved`, name);
    await must(other, 'load', '-i', `${engine.folder}/saved`);
    await must(other, 'tag', name, `${name}/again`);
    await must(other, 'push', `${name}/again`);
    expect(inspected(`${name}/again`, '--raw')).toBe(inspected(name, '--raw'));
  });

  test(
    'a zstd layer goes as it came; a docker archive has it without compression',
    needs({ command: 'zstd' }),
    async () => {
      const packed = execFileSync('zstd', ['-q', '-c'], { input: lower });
      writeFileSync(`${engine.folder}/rootfs.tar.zst`, packed);
      await must(engine, 'import', `${engine.folder}/rootfs.tar.zst`, name);
      await must(engine, 'push', name);
      expect(JSON.parse(inspected(name, '--raw')).layers).toEqual([
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
          digest: `sha256:${createHash('sha256').update(packed).digest('hex')}`,
          size: packed.length,
        },
      ]);
      await must(engine, 'save', '-o', `${engine.folder}/saved.tar`, name);
      const files = execFileSync('tar', ['-tf', `${engine.folder}/saved.tar`], { encoding: 'utf8' });
      expect(files).toContain(`${createHash('sha256').update(lower).digest('hex')}.tar\n`);
      await must(other, 'load', '-i', `${engine.folder}/saved.tar`);
    },
  );

  test('-a: every tag of the name; -q: only names', async () => {
    await load(
      engine,
      { layers: [lower], tags: [`${name}:1`, `${name}:2`] },
      { layers: [upper], tags: [`${name}:3`, `${name}x:1`] },
    );
    expect(await must(engine, 'push', '-q', '-a', name)).toBe(`${name}:1\n${name}:2\n${name}:3\n`);
    expect(JSON.parse(skopeo('list-tags', '--tls-verify=false', `docker://${name}`)).Tags.sort()).toEqual([
      '1',
      '2',
      '3',
    ]);
    expect((await engine.run('push', '-a', `${name}:1`)).stderr).toContain('should name none');
    expect(await engine.run('push', '-a', `${name}/none`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('does not exist locally'),
    });
  });

  test('on a terminal: a line for each layer, which ends as Pushed', async () => {
    await load(engine, { layers: [lower, a.archive({ name: 'noise', data: noise(2_000_000) })], tags: [name] });
    const terminal = new Pty([...engine.command, 'push', name]);
    expect(await terminal.ended).toBe(0);
    expect(terminal.screen.match(/[0-9a-f]{12}: Pushed\r\n/g)?.length).toBeGreaterThanOrEqual(2);
    expect(terminal.screen).toMatch(/latest: digest: sha256:[0-9a-f]{64} size: [0-9]+\r\n$/);
  });

  test('podman and skopeo pull it, and podman runs it', needs({ command: 'podman' }), async () => {
    await must(engine, 'tag', 'busybox', name);
    const digest = digestIn(await must(engine, 'push', name));
    expect(JSON.parse(inspected(name)).Digest).toBe(digest);
    skopeo('copy', '-q', '--src-tls-verify=false', `docker://${name}`, `oci:${engine.folder}/copied:x`);
    const podman = new PodmanImages(`${engine.folder}/podman`);
    await podman.must('pull', '-q', '--tls-verify=false', name);
    expect(await podman.run(name, 'sh', '-c', 'echo hello from $(readlink /bin/sh)')).toBe('hello from /bin/busybox\n');
  });

  test('what podman pushes runs here', needs({ command: 'podman' }), async () => {
    await must(engine, 'save', '-o', `${engine.folder}/busybox.tar`, 'busybox');
    const podman = new PodmanImages(`${engine.folder}/podman`);
    await podman.must('load', '-q', '-i', `${engine.folder}/busybox.tar`);
    await podman.must('push', '-q', '--tls-verify=false', 'busybox', name);
    expect(await other.run('run', '--rm', '-q', name, 'echo', 'hello')).toMatchObject({ code: 0, stdout: 'hello\n' });
  });

  describe('failures', () => {
    const firstLine = ({ stderr }: Result) => stderr.split('\n')[0];

    test('an image that is not here, a digest, a registry that is not there', async () => {
      expect(await engine.run('push', name)).toMatchObject({
        code: 1,
        stderr: `tinyctr: An image does not exist locally with the tag: ${name}:latest\n  hint: give the image that name first: tinyctr tag IMAGE ${name}:latest\n`,
      });
      expect(existsSync(engine.root)).toBe(false);
      expect(firstLine(await engine.run('push', `x@sha256:${'0'.repeat(64)}`))).toContain('has a digest');
      await load(engine, { layers: [lower], tags: ['127.0.0.1:1/x'] });
      expect(firstLine(await engine.run('push', '127.0.0.1:1/x'))).toBe(
        'tinyctr: 127.0.0.1:1: nothing listens there (connection refused)',
      );
      expect(listImages(engine.root)[0]!.names).toEqual(['127.0.0.1:1/x:latest']);
    });

    test('a damaged archive in the store is what is said, and the name is not there', async () => {
      await load(engine, { layers: [a.archive({ name: 'noise', data: noise(100_000) })], tags: [name] });
      await must(engine, 'save', '--format', 'oci-archive', '-o', `${engine.folder}/saved`, name); // it is gzip now
      const file = `${engine.root}/blobs/sha256/${blobs(engine)[0]}`;
      const bytes = readFileSync(file);
      bytes.writeUInt8(bytes.readUInt8(5000) ^ 1, 5000);
      writeFileSync(file, bytes);
      expect(firstLine(await engine.run('push', name))).toMatch(
        /^tinyctr: the archive sha256:[0-9a-f]{64} in the store is damaged/,
      );
      expect(() => inspected(name)).toThrow('manifest unknown');
    });

    test.each([
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGKILL', null],
    ] as const)('%s in the middle: no name at the registry, the next push finishes it', async (signal, code) => {
      await load(engine, { layers: [lower, a.archive({ name: 'noise', data: noise(30_000_000) })], tags: [name] });
      const uploads = `${registry.folder}/data/docker/registry/v2/repositories/test${number}/image/_uploads`;
      const child = spawn(engine.command[0]!, [...engine.command.slice(1), 'push', name], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.on('data', (chunk) => {
        said += chunk;
      });
      const ended = new Promise((resolve) => child.once('close', resolve));
      await until(
        'it uploads',
        () => child.exitCode !== null || (existsSync(uploads) && readdirSync(uploads).length > 0),
        30_000,
      );
      child.kill(signal);
      expect(await ended).toBe(code);
      if (signal !== 'SIGKILL')
        expect(said).toBe(
          `tinyctr: the push of ${name} was interrupted\n  hint: the name at the registry is as before\n`,
        );
      expect(() => inspected(name)).toThrow(/unknown/);
      await must(engine, 'push', name);
      expect(readdirSync(`${engine.root}/layers`).filter((file) => file.startsWith('tmp-'))).toEqual([]);
      expect(blobs(engine)).toHaveLength(3);
      await must(other, 'pull', name);
    });
  });

  test('rmi and prune of one of two images leave the other all that it needs, also while images are pulled', async () => {
    const large = a.archive({ name: 'noise', data: noise(5_000_000) });
    await load(
      engine,
      { layers: [lower, large], tags: [`${name}:one`] },
      { layers: [lower, upper], tags: [`${name}:two`] },
    );
    await must(engine, 'push', '-a', name);
    expect(blobs(engine)).toHaveLength(5); // three archives, two manifests
    await must(engine, 'rmi', `${name}:one`);
    expect(blobs(engine)).toHaveLength(3);
    await must(engine, 'save', '--format', 'oci-archive', '-o', `${engine.folder}/two`, `${name}:two`);

    const pruning = Array.from({ length: 4 }, () => engine.run('image', 'prune', '-f'));
    const pulls = [engine.run('pull', `${name}:one`), engine.run('pull', `${name}:two`)];
    for (const { code, stderr } of await Promise.all([...pulls, ...pruning])) expect([code, stderr]).toEqual([0, '']);
    for (const tag of ['one', 'two']) await must(engine, 'save', '-o', `${engine.folder}/${tag}.tar`, `${name}:${tag}`);
    await must(engine, 'image', 'prune', '-af');
    expect(blobs(engine)).toEqual([]);
    expect(readdirSync(`${engine.root}/layers`)).toEqual([]);
  });
});

describe('a registry with passwords', needs({ root: true, ...REGISTRY_NEEDS }), () => {
  test('the credentials of docker’s configuration are sent; without them the error says what to do', async () => {
    const user = { name: 'alice', password: 'secret' };
    const registry = await Registry.start({ user });
    const engine = new Engine();
    try {
      const name = `${registry.host}/private/busy`;
      await engine.run('tag', 'busybox', name);
      mkdirSync(`${engine.folder}/docker`);
      const env = { DOCKER_CONFIG: `${engine.folder}/docker` };
      const refused = await engine.runWith({ env }, 'push', name);
      expect(refused).toMatchObject({ code: 125, stderr: expect.stringContaining('login') });
      const auths = { [registry.host]: { auth: Buffer.from(`${user.name}:${user.password}`).toString('base64') } };
      writeFileSync(`${engine.folder}/docker/config.json`, JSON.stringify({ auths }));
      expect(await engine.runWith({ env }, 'push', name)).toMatchObject({ code: 0, stderr: '' });
    } finally {
      engine.remove();
      await registry.stop();
    }
  });
});
