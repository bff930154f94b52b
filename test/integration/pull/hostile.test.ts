/** What a registry may send and must not get away with (SEC-13, SEC-16, SEC-18); and what is refused by name. */
import { mkdirSync, readdirSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../../../src/image/limits.ts';
import * as a from '../../support/archives.ts';
import { endless, HostileRegistry, on } from '../../support/hostile-registry.ts';
import { needs } from '../../support/need.ts';
import { sha256 } from '../../support/registry.ts';
import { Engine } from '../../support/tinyctr.ts';
import { snapshot } from '../image/snapshot.ts';
import {
  addDocument,
  addImage,
  addIndex,
  architecture,
  blobFiles,
  checkNothingLeft,
  checkStore,
  configuration,
} from './support.ts';

const OCI = 'application/vnd.oci.image';
const DOCKER = 'application/vnd.docker';
const plain = a.archive(a.file('f', 'content'));
const layer = gzipSync(plain);

describe('hostile registries', needs({ root: true }), () => {
  let registry: HostileRegistry;
  let engine: Engine;
  let name: string;
  beforeEach(async () => {
    registry = await HostileRegistry.start();
    engine = new Engine();
    name = `${registry.host}/x:1`;
  });
  afterEach(async () => {
    await registry.stop();
    engine.remove();
  });

  const blob = (bytes: Buffer, mediaType: string) => {
    registry.blobs.set(sha256(bytes), bytes);
    return { mediaType, digest: sha256(bytes), size: bytes.length };
  };
  const config = (bytes = configuration([plain])) => blob(bytes, `${OCI}.config.v1+json`);
  const gzipLayer = (bytes = layer) => blob(bytes, `${OCI}.layer.v1.tar+gzip`);
  const manifest = (fields: object) =>
    addDocument(registry, '1', {
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: config(),
      layers: [gzipLayer()],
      ...fields,
    });

  /** One error with this text, and nothing of it in the store. */
  const refused = async (message: string | RegExp, ...words: string[]) => {
    const { code, stdout, stderr } = await engine.run('pull', '-q', ...words, name);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^tinyctr: [^\n]*\n( {2}\w+: [^\n]*\n( {4}[^\n]*\n)*)*$/);
    expect({ code, stdout }).toEqual({ code: 125, stdout: '' });
    for (const folder of ['images', 'configs', 'names', 'layers'])
      expect(readdirSync(`${engine.root}/${folder}`)).toEqual([]);
    await engine.run('cleanup');
    checkNothingLeft(engine);
  };

  describe('documents', () => {
    test('the good one is taken', async () => {
      manifest({});
      expect(await engine.run('pull', '-q', name)).toMatchObject({ code: 0, stderr: '' });
    });

    test.each<[string, object, string | RegExp]>([
      [
        'a Helm chart',
        { config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: sha256(layer), size: 2 } },
        'is of a Helm chart that is no container image',
      ],
      [
        'an artifact by its type',
        {
          artifactType: 'application/vnd.example.sbom',
          config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256(layer), size: 2 },
        },
        'no container image: application/vnd.example.sbom',
      ],
      [
        'a foreign layer',
        {
          layers: [
            { ...{ digest: sha256(layer), size: 9 }, mediaType: `${DOCKER}.image.rootfs.foreign.diff.tar.gzip` },
          ],
        },
        'foreign layer, which registries don’t hand out'.replace('’', "'"),
      ],
      [
        'an encrypted layer',
        { layers: [{ digest: sha256(layer), size: 9, mediaType: `${OCI}.layer.v1.tar+gzip+encrypted` }] },
        "which can't be unpacked",
      ],
      ['two kinds of document at once', { manifests: [] }, 'is two kinds of document at once'],
      [
        'too many layers',
        {
          layers: Array.from({ length: limits.layers + 1 }, () => ({
            mediaType: `${OCI}.layer.v1.tar`,
            digest: sha256(layer),
            size: 1,
          })),
        },
        'has 126 layers, where at most 125',
      ],
      ['other layers than the configuration counts', { layers: [] }, 'has 0 layers, but its configuration 1'],
      [
        'a digest that leads elsewhere',
        { layers: [{ mediaType: `${OCI}.layer.v1.tar`, digest: 'sha256:../../../../etc/passwd', size: 1 }] },
        'where sha256 and 64 hex digits must be',
      ],
      [
        'a size below zero',
        { layers: [{ mediaType: `${OCI}.layer.v1.tar`, digest: sha256(layer), size: -1 }] },
        'has the size -1',
      ],
      [
        'a size beyond all measure',
        { layers: [{ mediaType: `${OCI}.layer.v1.tar`, digest: sha256(layer), size: 1e15 }] },
        'of 1000000000000000 bytes, where at most',
      ],
      [
        'a configuration beyond the limit',
        { config: { mediaType: `${OCI}.config.v1+json`, digest: sha256(layer), size: 5e6 } },
        'has a configuration of 5000000 bytes',
      ],
      ['no list of layers', { layers: 'none' }, 'has no list of layers'],
      ['no configuration', { config: null }, 'where an object must be'],
    ])('%s', async (_, fields, message) => {
      manifest(fields);
      await refused(message);
    });

    test.each<[string, string, string | RegExp]>([
      ['schema 1', `${DOCKER}.distribution.manifest.v1+prettyjws`, "docker's first format (schema 1)"],
      ['schema 1 without a signature', `${DOCKER}.distribution.manifest.v1+json`, "docker's first format (schema 1)"],
      ['an artifact manifest', 'application/vnd.oci.artifact.manifest.v1+json', 'an artifact, not a container image'],
      ['a web page', 'text/html', 'a web page'],
      ['any other type', 'application/x-thing', 'of type "application/x-thing"'],
    ])('%s', async (_, mediaType, message) => {
      registry.fault = on(/manifests/, (_request, response) => {
        response.writeHead(200, { 'content-type': mediaType }).end('{"schemaVersion":1,"fsLayers":[]}');
      });
      await refused(message);
    });

    test('JSON that is none, that is no object, and a key twice: the last one counts, as everywhere', async () => {
      for (const [text, message] of [
        ['{', 'is not JSON'],
        ['[]', 'where an object must be'],
      ] as const) {
        registry.fault = on(/manifests/, (_, response) => {
          response.writeHead(200, { 'content-type': `${OCI}.manifest.v1+json` }).end(text);
        });
        await refused(message);
      }
      registry.fault = () => false;
      const good = JSON.stringify({ schemaVersion: 2, config: config(), layers: [gzipLayer()] });
      const twice = Buffer.from(good.replace('{', '{"layers":[],'));
      registry.manifests.set('1', twice);
      expect(await engine.run('pull', '-q', name)).toMatchObject({ code: 0 });
    });

    test('a manifest, a configuration or an index without an end', async () => {
      registry.fault = on(/manifests/, (_, response) => {
        response.writeHead(200, { 'content-type': `${OCI}.manifest.v1+json` });
        endless(response);
      });
      await refused(/larger than 4194304 bytes/);
      manifest({});
      registry.fault = on(/blobs/, (_, response) => endless(response));
      await refused(/more than the \d+ bytes/);
    });

    test('a configuration that is another', async () => {
      const other = configuration([plain], { created: '2020-01-01T00:00:00Z' });
      const wanted = config(configuration([plain], { created: '2021-01-01T00:00:00Z' }));
      manifest({ config: wanted });
      registry.fault = on(new RegExp(wanted.digest), (_, response) => void response.end(other));
      await refused(/the configuration sha256:[0-9a-f]{64} is damaged/);
    });

    test('a manifest by digest that is another', async () => {
      manifest({});
      const digest = `sha256:${'1'.repeat(64)}`;
      registry.manifests.set(digest, registry.manifests.get('1')!);
      name = `${registry.host}/x@${digest}`;
      await refused('the registry sent something else');
    });

    test('indexes within indexes, and one that leads to nothing', async () => {
      let inner = manifest({});
      for (let depth = 0; depth < 6; depth++) {
        const manifests = [{ ...inner, platform: { os: 'linux', architecture } }];
        inner = addDocument(registry, '1', { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests });
      }
      await refused('more than 4 indexes lie within each other');
      addDocument(registry, '1', { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests: [] });
      await refused('only for: nothing');
      const many = Array.from({ length: 1001 }, () => inner);
      addDocument(registry, '1', { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests: many });
      await refused('has 1001 manifests, where at most 1000');
    });

    test('an index that is wrong about the size of what it leads to', async () => {
      const { digest } = manifest({});
      const entry = { mediaType: `${OCI}.manifest.v1+json`, digest, size: 7, platform: { os: 'linux', architecture } };
      addDocument(registry, '1', { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests: [entry] });
      await refused(/has \d+ bytes, where the index says 7/);
    });

    test('labels and annotations change nothing', async () => {
      const config = { Cmd: ['sh'], Labels: { 'io.containerd.x': '/etc' }, Healthcheck: {} };
      addImage(registry, '1', [plain], { config, container_config: { Cmd: ['evil'] } });
      await engine.run('pull', '-q', name);
      expect(JSON.parse((await engine.run('inspect', name)).stdout)[0].Config).toEqual({ Cmd: ['sh'] });
    });
  });

  describe('layers', () => {
    test.each<[string, Buffer, string | RegExp]>([
      ['a way out by ..', a.archive(a.file('../evil', 'x')), "contains '..'"],
      [
        'a link to the host, and a file through it',
        a.archive(a.symlink('l', '/../../../..'), a.file('l/../evil', 'x')),
        "contains '..'",
      ],
      [
        'overlayfs steered by an attribute',
        a.archive(a.file('f', '', { pax: [['SCHILY.xattr.trusted.overlay.redirect', '/']] })),
        'overlayfs is steered',
      ],
      ['a hard link to nothing', a.archive(a.hardLink('f', 'passwd')), 'which the layer does not have'],
      ['no archive', Buffer.alloc(4096, 'x'), 'not a tar archive'],
      ['an archive that is cut short', a.archive(a.file('f', 'x'.repeat(9999))).subarray(0, 2000), 'truncated'],
      ['nothing at all', Buffer.alloc(0), 'the input is empty'],
    ])('%s', async (_, bytes, message) => {
      mkdirSync(`${engine.folder}/outside`);
      const before = snapshot(`${engine.folder}/outside`);
      registry.add(
        '1',
        [gzipSync(bytes).length > 30 && bytes.length > 0 ? gzipSync(bytes) : bytes],
        configuration([bytes]),
      );
      await refused(message);
      expect(snapshot(`${engine.folder}/outside`)).toEqual(before);
      expect(blobFiles(engine, '')).toEqual([]);
    });

    test('one bad layer of five ends the others', async () => {
      const good = Array.from({ length: 4 }, (_, i) => a.archive(a.file(`f${i}`, 'x'.repeat(100_000))));
      addImage(registry, '1', [...good, a.archive(a.file('../evil'))]);
      await refused("contains '..'");
    });

    test('another diff id than the configuration says', async () => {
      registry.add('1', [layer], configuration([a.archive(a.file('g'))]));
      await refused(/is damaged: its digest is sha256:[0-9a-f]{64}, where the configuration says/);
    });

    test('a known blob under another diff id is not believed', async () => {
      const other = a.archive(a.file('other', 'o'));
      registry.add('good', [layer, gzipSync(other)], configuration([plain, other]));
      expect(await engine.run('pull', '-q', `${registry.host}/x:good`)).toMatchObject({ code: 0 });
      registry.add('1', [gzipSync(other), layer], configuration([plain, other]));
      const { code, stderr } = await engine.run('pull', '-q', name);
      expect(code).toBe(125);
      expect(stderr).toContain('where the configuration says');
      checkStore(engine);
      const before = registry.requests.length;
      expect((await engine.run('pull', `${registry.host}/x:good`)).stdout).toContain('Image is up to date');
      expect(registry.requests.slice(before).filter(({ path }) => path.includes('/blobs/'))).toEqual([]);
    });

    test('a bomb: 2 GB of a file that is not even written', async () => {
      const header = a.header({ name: '.wh..wh.aufs', size: 2 ** 31 });
      const zeros = Buffer.alloc(2 ** 27);
      const piece = gzipSync(zeros);
      const bomb = Buffer.concat([gzipSync(header), ...Array.from({ length: 16 }, () => piece), gzipSync(a.end)]);
      registry.add('1', [bomb], configuration([plain]));
      await refused('grows to more than 200 times its size');
    });

    test('more bytes than the manifest says, and fewer', async () => {
      manifest({ layers: [{ ...gzipLayer(), size: layer.length - 1 }] });
      await refused(/it has \d+ bytes there, and should have \d+/);
      manifest({ layers: [{ ...gzipLayer(), size: layer.length + 1 }] });
      await refused(/it has \d+ bytes there, and should have \d+/);
    });
  });

  describe('platforms', () => {
    const foreign = architecture === 'amd64' ? 'arm64' : 'amd64';
    const of = (name: string, variant = '') =>
      addImage(registry, `of-${name}${variant}`, [a.archive(a.file('arch', name + variant))], {
        architecture: name,
        ...(variant && { variant }),
      });
    const inspected = async () => JSON.parse((await engine.run('inspect', name)).stdout)[0];

    test('from an index the one for this machine, or for --platform; RepoDigests has the index’s digest', async () => {
      const index = addIndex(registry, '1', {
        [`linux/${foreign}`]: of(foreign),
        [`linux/${architecture}`]: of(architecture),
        'linux/arm/v6': of('arm', 'v6'),
        'unknown/unknown': of('riscv64'),
      });
      expect(await engine.run('pull', '-q', name)).toMatchObject({ code: 0, stderr: '' });
      expect(await inspected()).toMatchObject({
        Architecture: architecture,
        RepoDigests: [`${registry.host}/x@${index}`],
      });
      expect(await engine.run('pull', '-q', '--platform', `linux/${foreign}`, name)).toMatchObject({ code: 0 });
      expect(await inspected()).toMatchObject({ Architecture: foreign });
      expect(await engine.run('pull', '-q', '--platform', 'linux/arm/v7', name)).toMatchObject({ code: 0 });
      expect(await inspected()).toMatchObject({ Architecture: 'arm', Variant: 'v6' });
      const none = await engine.run('pull', '-q', '--platform', 'linux/s390x', name);
      expect(none.stderr).toContain(
        `no image for linux/s390x is in there, only for: linux/${foreign}, linux/${architecture}, linux/arm/v6`,
      );
      expect((await engine.run('pull', '--platform', 'plan9/386', name)).stderr).toContain('only images for linux');
    });

    test('a manifest for another machine: a warning, an error when a platform was asked for', async () => {
      of(foreign);
      name = `${registry.host}/x:of-${foreign}`;
      const { code, stderr } = await engine.run('pull', '-q', name);
      expect(code).toBe(0);
      expect(stderr).toContain(`is for linux/${foreign}, this machine is linux/${architecture}`);
      const asked = await engine.run('pull', '-q', '--platform', `linux/${architecture}`, name);
      expect(asked.stderr).toContain(`only for linux/${foreign}, and linux/${architecture} was asked for`);
    });

    test('run --platform fetches what is here for another machine only', async () => {
      addIndex(registry, '1', { [`linux/${foreign}`]: of(foreign), [`linux/${architecture}`]: of(architecture) });
      await engine.run('pull', '-q', '--platform', `linux/${foreign}`, name);
      const never = await engine.run('run', '--pull', 'never', '--platform', `linux/${architecture}`, name, 'true');
      expect(never.stderr).toContain(`for linux/${architecture} (it is here for linux/${foreign}) locally`);
      const { stderr } = await engine.run('run', '--rm', '--platform', `linux/${architecture}`, name, 'true');
      expect(stderr).toContain(`Unable to find image '${name}' locally`);
      expect(await inspected()).toMatchObject({ Architecture: architecture });
    });
  });

  test('docker’s types of manifest list, manifest, configuration and layers', async () => {
    const inner = addDocument(registry, 'inner', {
      schemaVersion: 2,
      mediaType: `${DOCKER}.distribution.manifest.v2+json`,
      config: blob(configuration([plain, plain]), `${DOCKER}.container.image.v1+json`),
      layers: [blob(layer, `${DOCKER}.image.rootfs.diff.tar.gzip`), blob(plain, `${OCI}.layer.v1.tar`)],
    });
    const manifests = [{ ...inner, platform: { os: 'linux', architecture } }];
    addDocument(registry, '1', {
      schemaVersion: 2,
      mediaType: `${DOCKER}.distribution.manifest.list.v2+json`,
      manifests,
    });
    expect(await engine.run('pull', '-q', name)).toMatchObject({ code: 0, stderr: '' });
    checkNothingLeft(engine);
    expect((await engine.run('pull', name)).stdout).toContain('Image is up to date');
  });
});
