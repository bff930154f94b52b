/**
 * The embedded image: a root filesystem made of rootfs-examples/busybox, put into the store when it is first asked for.
 * Host side. The program's digest is checked each time.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { nativeFolder } from '../core/host/syscall.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { imageFromArchive } from './import.ts';
import { hostPlatform } from './platform.ts';
import type { Image } from './records.ts';
import { parseReference } from './reference.ts';
import { encodeHeader, endOfArchive, paddingOf } from './tar/encode.ts';
import type { Entry } from './tar/entry.ts';

/** recipe.json; the README beside it says what each part is. */
interface Recipe {
  version: string;
  created: string;
  binaries: Record<string, { file: string; sha256: string; size: number } | undefined>;
  /** Modes in octal by path. */
  directories: Record<string, string>;
  /** Targets of symbolic links by path. */
  links: Record<string, string>;
  applets: string[];
}

const SEARCH_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const PROGRAM = 'bin/busybox';

/** Makes the image. `folder` is the recipe's. Throws ContainerError when a file of it is damaged. */
export async function loadEmbedded(
  root: string,
  folder: string = join(nativeFolder, '../../rootfs-examples/busybox'),
): Promise<Image> {
  const recipe = JSON.parse(readFileSync(join(folder, 'recipe.json'), 'utf8')) as Recipe;
  const program = readProgram(folder, recipe);
  const parts = {
    config: { Env: [SEARCH_PATH], Cmd: ['sh'] },
    created: recipe.created,
    platform: hostPlatform,
    comment: `busybox-static ${recipe.version} of Debian`,
  };
  return await imageFromArchive(root, archive(folder, recipe, program), parts, [parseReference('busybox')]);
}

function readProgram(folder: string, recipe: Recipe): Buffer {
  const binary = recipe.binaries[hostPlatform.architecture];
  if (binary === undefined)
    throw new ContainerError(`the embedded image has no program for ${hostPlatform.architecture}`);
  const path = join(folder, binary.file);
  let program: Buffer = Buffer.alloc(0);
  try {
    program = gunzipSync(readFileSync(path), { maxOutputLength: binary.size });
  } catch (error) {
    throw damaged(path, (error as Error).message);
  }
  const digest = createHash('sha256').update(program).digest('hex');
  if (digest !== binary.sha256) throw damaged(path, `its SHA-256 is ${digest}, where ${binary.sha256} belongs`);
  return program;
}

function damaged(path: string, why: string): ContainerError {
  return new ContainerError(`${path} is damaged: ${why}`, {
    hint: 'fetch it again: git checkout rootfs-examples/busybox',
  });
}

async function* archive(folder: string, recipe: Recipe, program: Buffer): AsyncGenerator<Buffer> {
  const mtimeNs = BigInt(Date.parse(recipe.created)) * 1_000_000n;
  const base = { linkname: '', uid: 0, gid: 0, mtimeNs, devMajor: 0, devMinor: 0, size: 0, xattrs: new Map() };
  const symlink = (name: string, linkname: string): Entry => ({
    ...base,
    type: 'symlink',
    name,
    linkname,
    mode: 0o777,
  });
  const file = (name: string, mode: number, data: Buffer): Buffer =>
    Buffer.concat([
      encodeHeader({ ...base, type: 'file', name, mode, size: data.length }),
      data,
      paddingOf(data.length),
    ]);
  const directories = { './': '0755', ...recipe.directories };
  for (const [name, mode] of Object.entries(directories))
    yield encodeHeader({ ...base, type: 'directory', name, mode: Number.parseInt(mode, 8) });
  yield file(PROGRAM, 0o755, program);
  for (const name of readdirSync(join(folder, 'rootfs/etc')).sort())
    yield file(`etc/${name}`, 0o644, readFileSync(join(folder, 'rootfs/etc', name)));
  for (const applet of recipe.applets) yield encodeHeader(symlink(`bin/${applet}`, `/${PROGRAM}`));
  for (const [name, target] of Object.entries(recipe.links)) yield encodeHeader(symlink(name, target));
  yield endOfArchive;
}
