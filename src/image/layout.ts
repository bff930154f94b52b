/** Where the store keeps what, below --root. Host side, only paths and their creation; docs/images.md draws it. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ContainerError } from '../core/kernel/error.ts';
import { type Reference, suffix } from './reference.ts';

const PRIVATE = 0o700;

/** The folder of unpacked layers: <32 hex> each, and tmp-<pid>-… while something is being made. */
export function layersFolder(root: string): string {
  return join(root, 'layers');
}

/** The folder of image records: <64 hex>.json. */
export function imagesFolder(root: string): string {
  return join(root, 'images');
}

/** The folder of configurations, byte by byte as they came: the SHA-256 of each is its name. */
export function configsFolder(root: string): string {
  return join(root, 'configs');
}

/** The folder of archives and manifests as they came, named by their SHA-256; blobs.ts says what else is in it. */
export function blobsFolder(root: string): string {
  return join(root, 'blobs', 'sha256');
}

/** The folder of names: one directory per repository, in it :<tag> or @<digest>, each a file that holds an image id. */
export function namesFolder(root: string): string {
  return join(root, 'names');
}

/** No component of a repository begins with : or @, so a tag never meets a repository of the same name. */
export function nameFile(root: string, reference: Reference): string {
  return join(namesFolder(root), reference.domain, reference.path, suffix(reference));
}

export function imageFile(root: string, id: string): string {
  return join(imagesFolder(root), `${id}.json`);
}

/** The 64 hex digits of a digest: the name of a blob's file. */
export function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}

/** The folder of the layer whose archive has this digest: its first 32 hex digits keep overlayfs's options short. */
export function layerName(diffId: string): string {
  return diffId.slice('sha256:'.length, 'sha256:'.length + 32);
}

/**
 * Makes the store's folders where they are missing. Layers hold setuid programs of all sorts: nobody but root may reach
 * them. Throws ContainerError when somebody else owns the folder.
 */
export function ensureStore(root: string): void {
  mkdirSync(root, { recursive: true, mode: PRIVATE });
  const stat = statSync(root);
  if (stat.uid !== process.getuid?.())
    throw new ContainerError(`${root} belongs to user ${stat.uid}, but this is user ${process.getuid?.()}`);
  if ((stat.mode & 0o077) !== 0) chmodSync(root, PRIVATE);
  for (const folder of [layersFolder, imagesFolder, configsFolder, blobsFolder, namesFolder])
    mkdirSync(folder(root), { recursive: true, mode: PRIVATE });
}

/** Writes a file so that it is there whole or not at all. Call it with the store's lock: leftovers begin with a dot. */
export function writeWhole(path: string, data: string | Buffer): void {
  mkdirSync(dirname(path), { recursive: true, mode: PRIVATE });
  const temporary = join(dirname(path), `.${basename(path)}`);
  writeFileSync(temporary, data, { mode: 0o600, flush: true });
  renameSync(temporary, path);
}

/** Names in a folder that another process may remove at any moment; none when it is gone. */
export function readdirIfThere(folder: string, recursive = false): string[] {
  try {
    return readdirSync(folder, { recursive, encoding: 'utf8' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** A text file, undefined where there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
