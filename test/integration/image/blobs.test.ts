/** What the store keeps of layers and manifests as they came. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readDocumentBlob } from '../../../src/image/blobs.ts';
import { cleanBlobs, cleanStore } from '../../../src/image/clean.ts';
import { importImage } from '../../../src/image/import.ts';
import { blobsFolder } from '../../../src/image/layout.ts';
import { loadImages } from '../../../src/image/load.ts';
import { tryLock } from '../../../src/image/lock.ts';
import { findImage } from '../../../src/image/records.ts';
import { removeImage } from '../../../src/image/remove.ts';
import { Work } from '../../../src/image/work.ts';
import * as a from '../../support/archives.ts';
import { needs } from '../../support/need.ts';
import { Scratch } from './snapshot.ts';

let scratch: Scratch;
let root: string;
beforeEach(() => {
  scratch = new Scratch();
  root = scratch.in('root');
});
afterEach(() => scratch.remove());

const blobs = () => readdirSync(blobsFolder(root)).sort();
const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const hex = (bytes: Buffer) => sha256(bytes).slice(7);

/** An OCI layout of one image with one layer, in a folder. Returns its layer's archive and its manifest. */
function layout(folder: string, layer: Buffer, plain: Buffer, tag: string): Buffer {
  const put = (bytes: Buffer) => {
    writeFileSync(join(folder, 'blobs/sha256', hex(bytes)), bytes);
    return { digest: sha256(bytes), size: bytes.length };
  };
  mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
  const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };
  const config = { ...platform, config: {}, rootfs: { type: 'layers', diff_ids: [sha256(plain)] } };
  const oci = 'application/vnd.oci.image';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: { mediaType: `${oci}.config.v1+json`, ...put(Buffer.from(JSON.stringify(config))) },
      layers: [{ mediaType: `${oci}.layer.v1.tar+gzip`, ...put(layer) }],
    }),
  );
  const top = {
    mediaType: `${oci}.manifest.v1+json`,
    ...put(manifest),
    annotations: { 'io.containerd.image.name': `docker.io/library/${tag}` },
  };
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [top] }));
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return manifest;
}

describe('blobs of the store', needs({ root: true }), () => {
  const plain = a.archive(a.file('f', 'content'));
  const layer = gzipSync(plain);

  test('import keeps the archive as it came, and what was found in it', async () => {
    writeFileSync(scratch.in('a.tar.gz'), layer);
    const image = await importImage(root, scratch.in('a.tar.gz'), 'a', []);
    expect(image.content[0]?.blob).toEqual({
      digest: sha256(layer),
      size: layer.length,
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    });
    expect(blobs()).toEqual([hex(layer), `${hex(layer)}.layer`]);
    expect(readFileSync(join(blobsFolder(root), hex(layer)))).toEqual(layer);
    expect(JSON.parse(readFileSync(join(blobsFolder(root), `${hex(layer)}.layer`), 'utf8'))).toEqual({
      diffId: sha256(plain),
      size: 7,
    });
  });

  test('load of a layout keeps layers and the manifest; the last image takes them away', async () => {
    const manifest = layout(scratch.in('layout'), layer, plain, 'one:1');
    const [image] = await loadImages(root, scratch.in('layout'));
    expect(image?.manifest?.digest).toBe(sha256(manifest));
    expect(readDocumentBlob(root, sha256(manifest))).toEqual(manifest);
    expect(blobs()).toEqual([hex(layer), `${hex(layer)}.layer`, hex(manifest)].sort());
    writeFileSync(scratch.in('a.tar.gz'), layer);
    await importImage(root, scratch.in('a.tar.gz'), 'two', []);
    removeImage(root, 'one:1', false);
    expect(blobs()).toEqual([hex(layer), `${hex(layer)}.layer`]);
    removeImage(root, 'two', false);
    expect(blobs()).toEqual([]);
  });

  test(
    'an image that came by a manifest keeps it when it is loaded again without one',
    needs({ command: 'skopeo' }),
    async () => {
      layout(scratch.in('layout'), layer, plain, 'one:1');
      await loadImages(root, scratch.in('layout'));
      const before = findImage(root, 'one:1');
      const file = scratch.in('docker.tar');
      const made = spawnSync('skopeo', ['copy', '-q', `oci:${scratch.in('layout')}`, `docker-archive:${file}:again:1`]);
      expect(String(made.stderr)).toBe('');
      const [again] = await loadImages(root, file);
      expect(again?.id).toBe(before?.id);
      expect(findImage(root, 'again:1')).toMatchObject({ manifest: before?.manifest, content: before?.content });
    },
  );

  test('cleanup takes what nobody needs or writes, and leaves the rest', async () => {
    layout(scratch.in('layout'), layer, plain, 'one:1');
    await loadImages(root, scratch.in('layout'));
    const kept = blobs();
    const [dead, living, needed] = ['1', '2', '3'].map((digit) => digit.repeat(64)) as [string, string, string];
    for (const name of [`${dead}.partial`, `${living}.partial`, `${needed}.partial`, '4'.repeat(64), `.${dead}`])
      writeFileSync(join(blobsFolder(root), name), 'x');
    const fd = openSync(join(blobsFolder(root), `${living}.partial`), 'r');
    expect(tryLock(fd)).toBe(true);
    const work = new Work(root);
    work.keepBlobs([`sha256:${needed}`]);
    cleanStore(root);
    expect(cleanBlobs(root)).toEqual([`sha256:${dead}`, `sha256:${'4'.repeat(64)}`]);
    expect(blobs()).toEqual([...kept, `${living}.partial`, `${needed}.partial`].sort());
    work.close();
    closeSync(fd);
    cleanBlobs(root);
    expect(blobs()).toEqual(kept);
  });

  test('a failed import leaves no blob', async () => {
    writeFileSync(scratch.in('bad.tar'), a.archive(a.file('../x')));
    await expect(importImage(root, scratch.in('bad.tar'), 'bad', [])).rejects.toThrow("'..'");
    expect(blobs()).toEqual([]);
  });
});
