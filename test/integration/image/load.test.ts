import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { blobsFolder, layersFolder, readdirIfThere } from '../../../src/image/layout.ts';
import { limits } from '../../../src/image/limits.ts';
import { loadImages } from '../../../src/image/load.ts';
import { findImage, listImages } from '../../../src/image/records.ts';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { Scratch } from './snapshot.ts';

let scratch: Scratch;
let root: string;

beforeEach(() => {
  scratch = new Scratch();
  root = scratch.in('root');
});
afterEach(() => {
  if (listImages(root).length === 0) expect([...store(), ...readdirIfThere(blobsFolder(root))]).toEqual([]);
  scratch.remove();
});

/** The layers in the store, and whatever else lies beside them. */
const store = () => readdirIfThere(layersFolder(root));

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const other = architecture === 'amd64' ? 'arm64' : 'amd64';

const lower = a.archive(a.directory('etc/'), a.file('etc/gone', 'x'), a.file('etc/kept', 'kept'));
const upper = a.archive(a.file('etc/.wh.gone'), a.file('etc/new', 'new'));

const configOf = (layers: readonly Buffer[], more: object = {}) =>
  json({
    architecture,
    os: 'linux',
    created: '2026-01-02T03:04:05Z',
    config: { Cmd: ['/bin/sh'], Labels: { evil: 'yes' } },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) },
    ...more,
  });

type Files = Record<string, Buffer>;

/** A docker archive as `docker save` of version 24 and before writes it. */
function dockerArchive(more: { tags?: string[]; config?: Buffer; item?: object } = {}): Files {
  const config = more.config ?? configOf([lower, upper]);
  const name = `${sha256(config)}.json`;
  const item = {
    Config: name,
    RepoTags: more.tags ?? ['some/thing:1'],
    Layers: ['1/layer.tar', '2/layer.tar'],
    ...more.item,
  };
  return { [name]: config, '1/layer.tar': lower, '2/layer.tar': upper, 'manifest.json': json([item]) };
}

const OCI = 'application/vnd.oci.image';

class Layout {
  readonly files: Files = { 'oci-layout': json({ imageLayoutVersion: '1.0.0' }) };

  blob(bytes: Buffer, mediaType: string, more: object = {}) {
    this.files[`blobs/sha256/${sha256(bytes)}`] = bytes;
    return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length, ...more };
  }

  manifest(config: Buffer, layers: Buffer[], more: object = {}) {
    const manifest = {
      schemaVersion: 2,
      config: this.blob(config, `${OCI}.config.v1+json`),
      layers: layers.map((layer) => this.blob(layer, `${OCI}.layer.v1.tar+gzip`)),
    };
    return this.blob(json(manifest), `${OCI}.manifest.v1+json`, more);
  }

  index(...manifests: object[]): Files {
    return { ...this.files, 'index.json': json({ schemaVersion: 2, manifests }) };
  }
}

const named = (name: string) => ({ annotations: { 'org.opencontainers.image.ref.name': name } });

function asTar(files: Files, ...more: a.RawEntry[]): string {
  writeFileSync(
    scratch.in('saved.tar'),
    a.archive(...Object.entries(files).map(([name, data]) => ({ name, data })), ...more),
  );
  return scratch.in('saved.tar');
}

function asDirectory(files: Files): string {
  for (const [name, data] of Object.entries(files)) {
    mkdirSync(dirname(scratch.in('saved', name)), { recursive: true });
    writeFileSync(scratch.in('saved', name), data);
  }
  return scratch.in('saved');
}

const layerHolds = (index: number, id: string) =>
  readdirSync(
    join(layersFolder(root), listImages(root).find((image) => image.id === id)!.layers[index]!, 'etc'),
  ).sort();

describe('docker archives', needs({ root: true }), () => {
  test('as a file, compressed, and as a directory: the same image, its layers once', async () => {
    const tar = asTar(dockerArchive());
    writeFileSync(scratch.in('saved.tar.gz'), gzipSync(readFileSync(tar)));
    for (const source of [tar, scratch.in('saved.tar.gz'), asDirectory(dockerArchive())]) {
      const [image] = await loadImages(root, source);
      expect(image).toMatchObject({
        id: sha256(configOf([lower, upper])),
        names: ['some/thing:1'],
        config: { Cmd: ['/bin/sh'] },
      });
    }
    const { id } = findImage(root, 'some/thing:1')!;
    expect([layerHolds(0, id), layerHolds(1, id)]).toEqual([
      ['gone', 'kept'],
      ['gone', 'new'],
    ]);
    expect(store()).toHaveLength(2);
    expect(JSON.stringify(findImage(root, id))).not.toContain('evil');
  });

  test('several images, several names, none; a layer that is a link to another', async () => {
    const [one, two] = [configOf([lower]), configOf([lower], { os: 'linux', created: '2026-05-05T00:00:00Z' })];
    const manifest = [
      { Config: `${sha256(one)}.json`, RepoTags: ['a:1', 'b:2'], Layers: ['1/layer.tar'] },
      { Config: `${sha256(two)}.json`, RepoTags: null, Layers: ['2/layer.tar'] },
    ];
    const files = {
      [`${sha256(one)}.json`]: one,
      [`${sha256(two)}.json`]: two,
      '1/layer.tar': lower,
      'manifest.json': json(manifest),
    };
    const images = await loadImages(root, asTar(files, a.symlink('2/layer.tar', '../1/layer.tar')));
    expect(images.map(({ names }) => names)).toEqual([['a:1', 'b:2'], []]);
  });

  test.each<[string, () => Files, string]>([
    ['a layer that is another', () => ({ ...dockerArchive(), '2/layer.tar': lower }), 'layer 2 of 2 is damaged'],
    [
      'a layer that is missing',
      () => dockerArchive({ item: { Layers: ['1/layer.tar', '3/layer.tar'] } }),
      'no file 3/layer.tar',
    ],
    [
      'a layer outside',
      () => dockerArchive({ item: { Layers: ['../../etc/passwd', '2/layer.tar'] } }),
      'no file ../../etc/passwd',
    ],
    [
      'fewer layers than diff ids',
      () => dockerArchive({ item: { Layers: ['1/layer.tar'] } }),
      '1 layers, but its configuration 2',
    ],
    [
      'a configuration that is another',
      () => ({
        ...dockerArchive({ item: { Config: `${'0'.repeat(64)}.json` } }),
        [`${'0'.repeat(64)}.json`]: json({}),
      }),
      'its digest is',
    ],
    ['a name that is none', () => dockerArchive({ tags: ['../../x'] }), 'invalid reference'],
    ['a manifest that is no list', () => ({ ...dockerArchive(), 'manifest.json': json({}) }), 'no list of images'],
    ['a manifest that is no JSON', () => ({ ...dockerArchive(), 'manifest.json': Buffer.from('[') }), 'not JSON'],
    [
      'a huge manifest',
      () => ({ ...dockerArchive(), 'manifest.json': Buffer.alloc(limits.documentBytes + 1, ' ') }),
      'at most 4194304',
    ],
    [
      'too many layers',
      () => dockerArchive({ item: { Layers: Array(limits.layers + 1).fill('1/layer.tar') } }),
      'at most 125',
    ],
    ['too many images', () => ({ 'manifest.json': json(Array(limits.manifests + 1).fill({})) }), 'at most 1000'],
    [
      'a hostile layer',
      () => {
        const evil = a.archive(a.file('../x'));
        return { ...dockerArchive({ config: configOf([lower, evil]) }), '2/layer.tar': evil };
      },
      'layer 2 of 2: "../x" can\'t be unpacked',
    ],
    ['a root filesystem', () => ({ 'bin/sh': Buffer.from('x') }), 'neither manifest.json nor oci-layout'],
  ])('%s is refused and leaves nothing', async (_, files, message) => {
    await expect(loadImages(root, asTar(files()))).rejects.toThrow(message);
    expect(listImages(root)).toEqual([]);
  });

  test('archives that are none', async () => {
    writeFileSync(scratch.in('text'), 'x'.repeat(2000));
    await expect(loadImages(root, scratch.in('text'))).rejects.toThrow('checksum');
    writeFileSync(scratch.in('none'), '');
    await expect(loadImages(root, scratch.in('none'))).rejects.toThrow('empty');
    writeFileSync(scratch.in('cut'), readFileSync(asTar(dockerArchive())).subarray(0, 2000));
    await expect(loadImages(root, scratch.in('cut'))).rejects.toThrow('truncated');
  });
});

describe('OCI layouts', needs({ root: true }), () => {
  const zipped = [gzipSync(lower), gzipSync(upper)];

  test('as a directory and as an archive; the name, and the digest of the manifest as a name', async () => {
    const layout = new Layout();
    const manifest = layout.manifest(configOf([lower, upper]), zipped, named('quay.io/some/thing:1'));
    const files = layout.index(manifest);
    for (const source of [asDirectory(files), asTar(files)]) {
      const [image] = await loadImages(root, source);
      expect(image?.names).toEqual(['quay.io/some/thing:1', `quay.io/some/thing@${manifest.digest}`]);
      expect(image?.content[0]?.blob).toEqual({
        digest: `sha256:${sha256(zipped[0]!)}`,
        size: zipped[0]!.length,
        mediaType: `${OCI}.layer.v1.tar+gzip`,
      });
      expect(findImage(root, `quay.io/some/thing@${manifest.digest}`)?.id).toBe(image?.id);
    }
  });

  test('a bare tag names no repository: the image has an id only', async () => {
    const layout = new Layout();
    const [image] = await loadImages(
      root,
      asTar(layout.index(layout.manifest(configOf([lower, upper]), zipped, named('latest')))),
    );
    expect(image?.names).toEqual([]);
    expect(findImage(root, image!.id.slice(0, 12))?.id).toBe(image?.id);
  });

  test('of several platforms this one is taken, also through an index in the index; attestations are passed over', async () => {
    const layout = new Layout();
    const platform = (arch: string) => ({ platform: { os: 'linux', architecture: arch } });
    const inner = json({
      schemaVersion: 2,
      manifests: [
        layout.manifest(configOf([lower], { architecture: other }), [zipped[0]!], platform(other)),
        layout.manifest(configOf([lower, upper]), zipped, platform(architecture)),
        layout.blob(json({}), `${OCI}.manifest.v1+json`, { platform: { os: 'unknown', architecture: 'unknown' } }),
      ],
    });
    const [image, ...rest] = await loadImages(
      root,
      asTar(layout.index(layout.blob(inner, `${OCI}.index.v1+json`, named('multi:1')))),
    );
    expect(rest).toEqual([]);
    expect(image).toMatchObject({ architecture, names: ['multi:1', expect.stringContaining('multi@sha256:')] });
  });

  test('only other platforms: they are named', async () => {
    const layout = new Layout();
    const manifest = layout.manifest(configOf([lower]), [zipped[0]!], {
      platform: { os: 'linux', architecture: other },
    });
    await expect(loadImages(root, asTar(layout.index(manifest)))).rejects.toThrow(
      `no image for linux/${architecture} is in there, only for: linux/${other}`,
    );
  });

  test('the same layer twice is unpacked once and mounted once', async () => {
    const layout = new Layout();
    const [image] = await loadImages(
      root,
      asTar(layout.index(layout.manifest(configOf([lower, upper, lower]), [zipped[0]!, zipped[1]!, zipped[0]!]))),
    );
    expect(image?.content).toHaveLength(3);
    expect(image?.layers).toEqual([sha256(upper), sha256(lower)].map((hex) => hex.slice(0, 32)));
    expect(store()).toHaveLength(2);
  });

  const layoutWith = (change: (layout: Layout, manifest: { digest: string; size: number }) => object) => () => {
    const layout = new Layout();
    const manifest = layout.manifest(configOf([lower, upper]), zipped);
    return layout.index({ ...manifest, ...change(layout, manifest) });
  };
  const damage = (which: (layout: Layout, digest: string) => string, data: Buffer) =>
    layoutWith((layout, { digest }) => {
      layout.files[which(layout, digest)] = data;
      return {};
    });
  const blobFile = (bytes: Buffer) => `blobs/sha256/${sha256(bytes)}`;

  test.each<[string, () => Files, string]>([
    ['a damaged manifest', damage((_, digest) => `blobs/sha256/${digest.slice(7)}`, Buffer.from('{}')), 'is damaged'],
    ['a damaged configuration', damage(() => blobFile(configOf([lower, upper])), Buffer.from('{}')), 'is damaged'],
    [
      'a layer of another digest',
      damage(() => blobFile(zipped[1]!), gzipSync(upper, { level: 1 })),
      'layer 2 of 2 is damaged',
    ],
    [
      'a layer that is cut',
      damage(() => blobFile(zipped[0]!), zipped[0]!.subarray(0, 50)),
      'layer 1 of 2: the archive is truncated',
    ],
    ['a wrong size', layoutWith((_, { size }) => ({ size: size + 1 })), 'is damaged'],
    [
      'a digest that is a path',
      layoutWith(() => ({ digest: 'sha256:../../../../etc/passwd' })),
      'sha256 and 64 hex digits',
    ],
    [
      'a digest of another kind',
      layoutWith(() => ({ digest: `sha512:${'0'.repeat(128)}` })),
      'sha256 and 64 hex digits',
    ],
    ['something that is no image', layoutWith(() => ({ mediaType: 'application/vnd.cncf.helm' })), 'not an image'],
    [
      'a layout of another version',
      () => ({ ...layoutWith(() => ({}))(), 'oci-layout': json({ imageLayoutVersion: '2.0.0' }) }),
      '"2.0.0"',
    ],
    ['an index without manifests', () => ({ ...new Layout().files, 'index.json': json({}) }), 'no list of manifests'],
    ['too many manifests', () => new Layout().index(...Array(limits.manifests + 1).fill({})), 'at most 1000'],
    [
      'a layer from elsewhere',
      () => {
        const layout = new Layout();
        const foreign = layout.blob(zipped[0]!, `${OCI}.layer.nondistributable.v1.tar+gzip`, {
          urls: ['https://example.com/'],
        });
        const config = layout.blob(configOf([lower]), `${OCI}.config.v1+json`);
        return layout.index(layout.blob(json({ config, layers: [foreign] }), `${OCI}.manifest.v1+json`));
      },
      'foreign layer',
    ],
    [
      'indexes without end',
      () => {
        const layout = new Layout();
        let inner: object = layout.manifest(configOf([lower]), [zipped[0]!]);
        for (let i = 0; i < 6; i++) inner = layout.blob(json({ i, manifests: [inner] }), `${OCI}.index.v1+json`);
        return layout.index(inner);
      },
      'more than 4 indexes',
    ],
  ])('%s is refused and leaves nothing', async (_, files, message) => {
    await expect(loadImages(root, asDirectory(files()))).rejects.toThrow(message);
    expect(listImages(root)).toEqual([]);
  });

  test('a link in a layout leads nowhere but into it', async () => {
    const layout = new Layout();
    const config = configOf([lower]);
    const files = layout.index(layout.manifest(config, [zipped[0]!]));
    const { [blobFile(config)]: _, ...rest } = files;
    writeFileSync(scratch.in('elsewhere'), config);
    symlinkSync(scratch.in('elsewhere'), join(asDirectory(rest), blobFile(config)));
    await expect(loadImages(root, scratch.in('saved'))).rejects.toThrow(`no file ${blobFile(config)}`);
  });
});

describe('what skopeo writes', needs({ root: true, command: 'skopeo' }), () => {
  test.each([
    ['docker-archive', 'docker-archive:OUT:skopeo/made:1', ['skopeo/made:1']],
    ['oci', 'oci:OUT:localhost/skopeo/made:1', ['localhost/skopeo/made:1', expect.any(String)]],
    ['oci-archive', 'oci-archive:OUT:localhost/skopeo/made:1', ['localhost/skopeo/made:1', expect.any(String)]],
  ])('%s', async (_, target, names) => {
    const source = `docker-archive:${asTar(dockerArchive())}`;
    execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', source, target.replace('OUT', scratch.in('out'))]);
    const [image] = await loadImages(root, scratch.in('out'));
    expect(image?.names).toEqual(names);
    expect(image?.content.map(({ diffId }) => diffId)).toEqual(
      [lower, upper].map((layer) => `sha256:${sha256(layer)}`),
    );
    expect(layerHolds(1, image!.id)).toEqual(['gone', 'new']);
  });
});

describe('what podman saves', needs({ root: true, command: 'podman' }), () => {
  test.each(['docker-archive', 'oci-archive', 'oci-dir'])('%s', async (format) => {
    const podman = (...words: string[]) =>
      execFileSync(
        'podman',
        [
          '--root',
          scratch.in('podman'),
          '--runroot',
          scratch.in('podman-run'),
          '--events-backend',
          'none',
          '--storage-driver',
          'vfs',
          ...words,
        ],
        { stdio: 'pipe' },
      );
    podman('load', '-q', '-i', asTar(dockerArchive()));
    podman('save', '-q', '--format', format, '-o', scratch.in('out'), 'some/thing:1');
    const [image] = await loadImages(root, scratch.in('out'));
    expect(image?.config).toMatchObject({ Cmd: ['/bin/sh'] });
    expect(layerHolds(1, image!.id)).toEqual(['gone', 'new']);
  });
});
