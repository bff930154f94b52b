/** `import`: the archive of a root filesystem, or a directory, becomes an image of one layer. Host side. */
import { createReadStream, realpathSync, type Stats, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { ContainerError } from '../core/kernel/error.ts';
import { applyChanges } from './change.ts';
import { commitImage } from './commit.ts';
import type { ImageConfig } from './config.ts';
import { hostPlatform, type Platform } from './platform.ts';
import type { Image } from './records.ts';
import { parseReference, type Reference } from './reference.ts';
import { takeLayer } from './take-layer.ts';
import { archiveDirectory } from './tar/walk.ts';
import { withWork } from './with-work.ts';

/** Large reads keep the event loop's share small. */
export const READ_AHEAD = { highWaterMark: 1024 * 1024 };

/** `source` is a file, a directory, or - for stdin; `name` may be left out. Throws ContainerError. */
export async function importImage(root: string, source: string, name: string | undefined, changes: readonly string[]) {
  const reference = name === undefined ? undefined : parseReference(name);
  if (reference?.digest) throw new ContainerError(`import gives a name and a tag, but ${name} has a digest`);
  const config = applyChanges({}, changes);
  const created = new Date().toISOString();
  const platform = hostPlatform;
  const parts = { config, created, platform, comment: `Imported from ${source}` };
  return await imageFromArchive(root, openSource(root, source), parts, reference ? [reference] : []);
}

export interface ImageParts {
  config: ImageConfig;
  /** RFC 3339. */
  created: string;
  platform: Platform;
  comment: string;
}

/** Unpacks one archive and makes it an image of its own. */
export async function imageFromArchive(
  root: string,
  archive: AsyncIterable<Buffer>,
  parts: ImageParts,
  references: readonly Reference[],
): Promise<Image> {
  return await withWork(root, async (work) => {
    const layer = await takeLayer(work, archive);
    return commitImage(root, makeConfiguration(parts, layer.diffId), [layer], references);
  });
}

/** Source: OCI image-spec, config.md. The same parts give the same bytes, and so the same id. */
function makeConfiguration({ config, created, platform, comment }: ImageParts, diffId: string): Buffer {
  const document = {
    created,
    ...platform,
    config,
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created, comment }],
  };
  return Buffer.from(JSON.stringify(document));
}

function openSource(root: string, source: string): AsyncIterable<Buffer> {
  if (source === '-') return openStdin();
  if (/^https?:\/\//.test(source))
    throw new ContainerError(`import from an address is not there yet: ${source}`, {
      hint: 'download it, or pipe it in: curl -L ADDRESS | tinyctr import - NAME',
    });
  const stat = statSource(source);
  if (stat.isFile() || stat.isFIFO()) return createReadStream(source, READ_AHEAD);
  if (!stat.isDirectory()) throw new ContainerError(`${source} is neither a file nor a directory`);
  const [inside, folder] = [`${resolve(root)}/`, `${realpathSync(source).replace(/\/$/, '')}/`];
  if (inside.startsWith(folder))
    throw new ContainerError(`${source} contains the image store ${root}, which would grow while it is read`, {
      hint: 'put the store on another file system for this, with --root',
    });
  return archiveDirectory(source);
}

/** stdin as a stream. Throws ContainerError when it is a terminal: nobody types an archive. */
export function openStdin(): AsyncIterable<Buffer> {
  if (process.stdin.isTTY) throw new ContainerError('the archive is to come from stdin, but stdin is a terminal');
  return process.stdin;
}

export function statSource(source: string): Stats {
  try {
    return statSync(source);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new ContainerError(`${source} can't be read: ${code === 'ENOENT' ? 'there is no such file' : code}`);
  }
}
