/** Images for the tests of pull, put into a registry of the test's own, and pulls that are watched while they run. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import { layersFolder } from '../../../src/image/layout.ts';
import { listImages, listNames } from '../../../src/image/records.ts';
import type { HostileRegistry } from '../../support/hostile-registry.ts';
import { sha256 } from '../../support/registry.ts';
import type { Engine, Result } from '../../support/tinyctr.ts';

export const architecture: string = process.arch === 'x64' ? 'amd64' : process.arch;
const OCI = 'application/vnd.oci.image';

/** A configuration for layers without compression. */
export function configuration(plain: readonly Buffer[], more: object = {}): Buffer {
  const rootfs = { type: 'layers', diff_ids: plain.map(sha256) };
  return Buffer.from(JSON.stringify({ os: 'linux', architecture, config: { Cmd: ['sh'] }, rootfs, ...more }));
}

/** Puts an image there whose layers are compressed by gzip. Returns the digest of its manifest. */
export function addImage(registry: HostileRegistry, tag: string, plain: readonly Buffer[], more: object = {}): string {
  return registry.add(
    tag,
    plain.map((layer) => gzipSync(layer)),
    configuration(plain, more),
  );
}

/** Puts any document there, under a tag and its digest. Returns a descriptor of it. */
export function addDocument(registry: HostileRegistry, tag: string, document: object) {
  const bytes = Buffer.from(JSON.stringify(document));
  registry.manifests.set(tag, bytes).set(sha256(bytes), bytes);
  const { mediaType = `${OCI}.manifest.v1+json` } = document as { mediaType?: string };
  return { mediaType, digest: sha256(bytes), size: bytes.length };
}

/** An index of manifests that are there, by platform: os/architecture[/variant]. */
export function addIndex(registry: HostileRegistry, tag: string, entries: Record<string, string>): string {
  const manifests = Object.entries(entries).map(([platform, digest]) => {
    const [os, name, variant] = platform.split('/');
    const size = registry.manifests.get(digest)!.length;
    return {
      mediaType: `${OCI}.manifest.v1+json`,
      digest,
      size,
      platform: { os, architecture: name, ...(variant && { variant }) },
    };
  });
  return addDocument(registry, tag, { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests }).digest;
}

/** A pull that runs: to be killed, waited for, or both. */
export function startPull(engine: Engine, ...words: string[]): { child: ChildProcess; result: Promise<Result> } {
  const child = spawn(engine.command[0]!, [...engine.command.slice(1), 'pull', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => {
    texts.stdout += data;
  });
  child.stderr.on('data', (data) => {
    texts.stderr += data;
  });
  const result = new Promise<Result>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal, ...texts })),
  );
  return { child, result };
}

/** What the store has of blobs, by what stands behind the digest: '', '.partial', '.layer'. */
export function blobFiles(engine: Engine, suffix: string): string[] {
  const folder = `${engine.root}/blobs/sha256`;
  const files = existsSync(folder) ? readdirSync(folder) : [];
  return files.filter((file) => file.slice(64) === suffix);
}

/** Everything that must hold whatever happened: each image complete, each name leading to one, all digests right. */
export function checkStore(engine: Engine): void {
  const { root } = engine;
  const images = listImages(root);
  const layers = readdirSync(layersFolder(root));
  for (const { id, content, manifest } of images) {
    expect(sha256(readFileSync(`${root}/configs/${id}`))).toBe(`sha256:${id}`);
    for (const { diffId } of content) expect(layers).toContain(diffId.slice(7, 39));
    const blobs = [...content.map(({ blob }) => blob?.digest), manifest?.digest];
    for (const digest of blobs) expect(blobFiles(engine, '')).toContain(digest?.slice(7));
  }
  for (const file of blobFiles(engine, ''))
    expect(
      createHash('sha256')
        .update(readFileSync(`${root}/blobs/sha256/${file}`))
        .digest('hex'),
    ).toBe(file);
  for (const { id } of listNames(root)) expect(images.map((image) => image.id)).toContain(id);
}

/** After `cleanup`: what is there belongs to an image. */
export function checkNothingLeft(engine: Engine): void {
  checkStore(engine);
  const images = listImages(engine.root);
  expect(new Set(readdirSync(layersFolder(engine.root)))).toEqual(new Set(images.flatMap(({ layers }) => layers)));
  expect(readdirSync(`${engine.root}/configs`).sort()).toEqual(images.map(({ id }) => id).sort());
  const digests = images.flatMap((image) => [image.manifest?.digest, ...image.content.map(({ blob }) => blob?.digest)]);
  const named = listNames(engine.root).map(({ reference }) => reference.digest);
  const needed = new Set([...digests, ...named].flatMap((digest) => digest?.slice(7) ?? []));
  expect(new Set(blobFiles(engine, ''))).toEqual(needed);
  expect(blobFiles(engine, '.partial')).toEqual([]);
}
