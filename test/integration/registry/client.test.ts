/** The registry client against Debian's docker-registry: open, with htpasswd; filled by skopeo. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseReference } from '../../../src/image/reference.ts';
import { type Blob, Repository } from '../../../src/registry/client.ts';
import { needs } from '../../support/need.ts';
import { REGISTRY_NEEDS, Registry, sha256, writeLayout } from '../../support/registry.ts';

const folder = mkdtempSync(`${tmpdir()}/tinyctr-client-`);
const layer = randomBytes(3_000_000);

async function bytesOf({ stream }: Blob): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** What a machine without any configuration has. */
const bare = { env: { HOME: folder }, mirrorsFile: `${folder}/none`, backoffMs: 10 };

afterAll(() => rmSync(folder, { recursive: true, force: true }));

for (const user of [undefined, { name: 'joe', password: 'sesame:with colon' }]) {
  describe(user ? 'with htpasswd' : 'open', needs(REGISTRY_NEEDS), () => {
    let registry: Registry;
    let repository: Repository;
    beforeAll(async () => {
      writeLayout(`${folder}/layout`, [layer]);
      registry = await Registry.start(user ? { user } : {});
      registry.fill(`oci:${folder}/layout:latest`, 'team/thing:1');
      if (user) {
        const auth = Buffer.from(`${user.name}:${user.password}`).toString('base64');
        writeFileSync(`${folder}/config.json`, JSON.stringify({ auths: { [registry.host]: { auth } } }));
      }
      const env = { HOME: folder, ...(user ? { DOCKER_CONFIG: folder } : {}) };
      repository = new Repository(parseReference(`${registry.host}/team/thing:1`), { settings: { ...bare, env } });
    });
    afterAll(async () => {
      repository?.close();
      await registry?.stop();
    });

    test('a manifest by tag and by digest, and its blobs', async () => {
      const byTag = await repository.manifest('1');
      expect(byTag.mediaType).toBe('application/vnd.oci.image.manifest.v1+json');
      expect(byTag.digest).toBe(sha256(byTag.bytes));
      expect((await repository.manifest(byTag.digest)).bytes).toEqual(byTag.bytes);
      const [descriptor] = JSON.parse(byTag.bytes.toString()).layers as { digest: string; size: number }[];
      const blob = await repository.blob(descriptor!.digest, descriptor!.size, 0);
      const bytes = await bytesOf(blob);
      expect(blob).toMatchObject({ start: 0, source: registry.host });
      expect(sha256(bytes)).toBe(descriptor!.digest);
      const rest = await repository.blob(descriptor!.digest, descriptor!.size, 1000);
      expect(rest.start).toBe(1000);
      expect((await bytesOf(rest)).equals(bytes.subarray(1000))).toBe(true);
    });

    test('what we push is there, byte by byte', async () => {
      const bytes = randomBytes(5_000_000);
      const digest = sha256(bytes);
      expect(await repository.hasBlob(digest)).toBe(false);
      await repository.pushBlob(digest, bytes.length, () => Readable.from([bytes.subarray(0, 7), bytes.subarray(7)]));
      expect(await repository.hasBlob(digest)).toBe(true);
      expect((await bytesOf(await repository.blob(digest, bytes.length, 0))).equals(bytes)).toBe(true);
      const old = await repository.manifest('1');
      expect(await repository.pushManifest('2', old.mediaType, old.bytes)).toBe(old.digest);
      expect((await repository.manifest('2')).bytes).toEqual(old.bytes);
    });

    test('a blob is taken over from another repository', async () => {
      const bytes = randomBytes(1000);
      await repository.pushBlob(sha256(bytes), bytes.length, () => Readable.from([bytes]));
      const env = { HOME: folder, ...(user ? { DOCKER_CONFIG: folder } : {}) };
      const other = new Repository(parseReference(`${registry.host}/team/other`), { settings: { ...bare, env } });
      expect(await other.mountBlob(sha256(bytes), 'team/thing')).toBe(true);
      expect(await other.hasBlob(sha256(bytes))).toBe(true);
      expect(await other.mountBlob(`sha256:${createHash('sha256').digest('hex')}`, 'team/thing')).toBe(false);
      other.close();
    });

    test('wrong names are one sentence', async () => {
      await expect(repository.manifest('nosuch')).rejects.toMatchObject({
        message: expect.stringMatching(/can't pull team\/thing:nosuch: there is none: MANIFEST_UNKNOWN/),
        status: 404,
      });
    });
  });
}
