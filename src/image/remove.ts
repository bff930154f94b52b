/** `rmi`: names go first, the image with its last name, layers with the last image that has them. Host side. */
import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ContainerError } from '../core/kernel/error.ts';
import { blobsOfImage, removeUnusedBlobs } from './blobs.ts';
import { removeUnused } from './clean.ts';
import { configsFolder, imageFile, nameFile, namesFolder, readdirIfThere, readIfThere } from './layout.ts';
import { withStoreLock } from './lock.ts';
import { findImage, type Image, listNames } from './records.ts';
import { familiarName, parseReference, type Reference } from './reference.ts';
import { keptBlobs, Work } from './work.ts';

/** What `rmi` did, in docker's words: names, and digests of the image and its layers. */
export interface Removed {
  untagged: string[];
  deleted: string[];
}

/**
 * Removes a name, and the image with its last one. `force` also removes an image by its id that has several names; an
 * image that a container uses stays in any case: its root filesystem is made of it. With `expected` names it goes only while
 * it has just these. Throws ContainerError.
 */
export function removeImage(root: string, reference: string, force: boolean, expected?: readonly string[]): Removed {
  const work = new Work(root); // tells cleanStore that there is something to clean, should this process die midway
  try {
    return removeWithin(root, reference, force, expected);
  } finally {
    work.close();
  }
}

function removeWithin(root: string, reference: string, force: boolean, expected?: readonly string[]): Removed {
  const removed = withStoreLock(root, () => {
    const image = findImage(root, reference);
    if (image === undefined) throw new ContainerError(`No such image: ${reference}`, { exitCode: 1 });
    const names = listNames(root).filter(({ id }) => id === image.id);
    const now = names.map((name) => familiarName(name.reference));
    if (expected && now.join() !== expected.join())
      throw new ContainerError(`${reference} was given another name meanwhile`, { exitCode: 1 });
    const going = goingNames(
      image,
      reference,
      names.map((name) => name.reference),
      force,
    );
    const isLast = going.length === names.length;
    if (isLast) refuseWhileUsed(root, image, reference);
    const blobs = blobsOfImage(image, names);
    for (const name of going) removeName(root, name);
    if (isLast) removeRecord(root, image.id);
    removeUnusedBlobs(root, keptBlobs(root), blobs);
    return { untagged: going.map(familiarName), deleted: isLast ? [`sha256:${image.id}`] : [], content: image.content };
  });
  const layers = removed.deleted.length > 0 ? removeUnused(root) : [];
  const gone = removed.content.filter(({ diffId }) => layers.some((layer) => diffId.startsWith(`sha256:${layer}`)));
  const digests = [...new Set(gone.map(({ diffId }) => diffId))].reverse();
  return { untagged: removed.untagged, deleted: [...removed.deleted, ...digests] };
}

/** By a tag: this one, and its repository's digests when no tag of it is left. By id: all, if they are of one repository. */
function goingNames(image: Image, reference: string, names: readonly Reference[], force: boolean): Reference[] {
  const named = image.names.length > 0 ? parseReference(reference) : undefined;
  if (named === undefined) {
    const repositories = new Set(names.map(({ domain, path }) => `${domain}/${path}`));
    if (repositories.size <= 1 || force) return [...names];
    throw new ContainerError(
      `conflict: unable to delete ${image.id.slice(0, 12)} (must be forced) - image is referenced in multiple repositories`,
      { exitCode: 1 },
    );
  }
  const same = (name: Reference) => name.domain === named.domain && name.path === named.path;
  const going = names.filter((name) => same(name) && name.tag === named.tag && name.digest === named.digest);
  const rest = names.filter((name) => same(name) && !going.includes(name));
  const digestsGo = named.tag !== undefined && rest.every((name) => name.digest !== undefined);
  return digestsGo ? [...going, ...rest] : going;
}

function refuseWhileUsed(root: string, image: Image, reference: string): void {
  const user = containersOf(root).find((container) => container.image === image.id);
  if (user === undefined) return;
  throw new ContainerError(
    `conflict: unable to remove ${reference} - container ${user.name || user.id.slice(0, 12)} is using its image ${image.id.slice(0, 12)}`,
    { exitCode: 1, hint: 'remove the container first' },
  );
}

interface ContainerUse {
  id: string;
  name: string;
  /** An image id, 64 hex. */
  image: string;
}

/** The containers of this root, whatever state they are in. Throws ContainerError for a record that can't be read. */
export function containersOf(root: string): ContainerUse[] {
  const folder = join(root, 'containers');
  const ids = readdirIfThere(folder).filter((name) => !name.startsWith('.')); // names, and what is being removed
  return ids.flatMap((id) => {
    const path = join(folder, id, 'container.json');
    const text = readIfThere(path);
    if (text === undefined) return [];
    try {
      return [JSON.parse(text) as ContainerUse];
    } catch {
      throw new ContainerError(`${path} is damaged, so it can't be said which image that container uses`);
    }
  });
}

/** The name's file, and the directories above it that are empty then. */
function removeName(root: string, reference: Reference): void {
  const file = nameFile(root, reference);
  unlinkSync(file);
  for (let folder = dirname(file); folder !== namesFolder(root); folder = dirname(folder)) {
    if (readdirSync(folder).length > 0) return;
    rmdirSync(folder);
  }
}

function removeRecord(root: string, id: string): void {
  unlinkSync(imageFile(root, id));
  unlinkSync(join(configsFolder(root), id));
}
