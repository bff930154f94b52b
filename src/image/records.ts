/**
 * Reading the store: which image a reference means, and which images there are. Host side, without locks: two small
 * files are read to find an image by name. Writing is in commit.ts, remove.ts and work.ts.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ContainerError } from '../core/kernel/error.ts';
import type { ImageConfig } from './config.ts';
import {
  configsFolder,
  imageFile,
  imagesFolder,
  nameFile,
  namesFolder,
  readdirIfThere,
  readIfThere,
} from './layout.ts';
import { familiarName, parseReference, type Reference } from './reference.ts';

/** A blob as a registry's manifest has it. */
export interface BlobRecord {
  digest: string;
  /** Bytes. */
  size: number;
  mediaType: string;
}

/** One layer of an image's manifest; an image may have the same layer twice. */
export interface LayerRecord {
  /** Of the archive without compression. */
  diffId: string;
  /** Bytes of the files in it. */
  size: number;
  /** The archive it came as: what a registry knows it by. The file is in the store (blobs.ts). */
  blob?: BlobRecord;
}

/** images/<id>.json. */
export interface ImageRecord {
  /** The SHA-256 of the configuration, 64 hex; the configuration itself is configs/<id>. */
  id: string;
  architecture: string;
  variant?: string;
  os: string;
  /** RFC 3339. */
  created: string;
  /** Bytes of the files of all layers. */
  size: number;
  config: ImageConfig;
  /** Folders below layersFolder(root), lowest first, each once: what overlayfs mounts. */
  layers: string[];
  /** The layers as the configuration lists them, lowest first. */
  content: LayerRecord[];
  /**
   * The manifest it came by, when it came by one: what is pushed again byte by byte. A name with a digest may mean an index
   * that led to it. Both are blobs of the store.
   */
  manifest?: BlobRecord;
}

export interface Image extends ImageRecord {
  /** Familiar references (alpine:latest). From findImage only the one that it was found by; from listImages all. */
  names: string[];
}

/**
 * The image that a reference means: a name, name:tag, name@digest, an id or its first 4 or more digits, perhaps with
 * sha256: before it. A name wins over an id. Throws ContainerError for what is neither, and for a prefix of several ids.
 */
export function findImage(root: string, reference: string): Image | undefined {
  const hex = /^(?:sha256:)?([a-f0-9]{4,64})$/.exec(reference)?.[1];
  if (hex?.length === 64) return readImage(root, hex, []);
  if (!reference.startsWith('sha256:')) {
    const parsed = parseReference(reference);
    const id = readName(nameFile(root, parsed));
    if (id !== undefined) return readImage(root, id, [familiarName(parsed)]);
  }
  if (hex === undefined) return undefined;
  const ids = listIds(root).filter((id) => id.startsWith(hex));
  if (ids.length > 1)
    throw new ContainerError(`${reference} is the beginning of ${ids.length} image ids`, {
      hint: `they are ${ids.map((id) => id.slice(0, 12)).join(', ')}`,
    });
  return ids[0] === undefined ? undefined : readImage(root, ids[0], []);
}

/** Every image with all its names, the youngest first. */
export function listImages(root: string): Image[] {
  const names = listNames(root);
  const images = listIds(root).flatMap((id) => readImage(root, id, namesOf(names, id)) ?? []);
  return images.sort((a, b) => Date.parse(b.created) - Date.parse(a.created) || (a.id < b.id ? -1 : 1));
}

function namesOf(names: readonly NamedImage[], id: string): string[] {
  return names.filter((name) => name.id === id).map(({ reference }) => familiarName(reference));
}

export interface NamedImage {
  reference: Reference;
  id: string;
}

/** All names, in alphabetical order. */
export function listNames(root: string): NamedImage[] {
  const folder = namesFolder(root);
  const found: NamedImage[] = [];
  for (const file of readdirIfThere(folder, true)) {
    const match = /^([^/]+)\/(.+)\/([:@])([^/]+)$/.exec(file);
    if (match === null) continue;
    const id = readName(join(folder, file));
    const reference: Reference = { domain: match[1]!, path: match[2]! };
    reference[match[3] === ':' ? 'tag' : 'digest'] = match[4]!;
    if (id !== undefined) found.push({ reference, id });
  }
  return found.sort((a, b) => (familiarName(a.reference) < familiarName(b.reference) ? -1 : 1));
}

/** The ids of all images. */
export function listIds(root: string): string[] {
  return readdirIfThere(imagesFolder(root)).flatMap((file) => /^([a-f0-9]{64})\.json$/.exec(file)?.[1] ?? []);
}

function readName(path: string): string | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const id = /^sha256:([a-f0-9]{64})\n$/.exec(text)?.[1];
  if (id === undefined) throw damaged(path, 'sha256: and an image id');
  return id;
}

/** An image's configuration byte by byte. Throws ContainerError when it is gone. */
export function readConfiguration(root: string, id: string): Buffer {
  try {
    return readFileSync(join(configsFolder(root), id));
  } catch (error) {
    throw new ContainerError(`the image ${id.slice(0, 12)} is not in the store any more`, { cause: error });
  }
}

/** Throws ContainerError for a record that can't be read; undefined when there is none. */
function readImage(root: string, id: string, names: string[]): Image | undefined {
  const path = imageFile(root, id);
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  try {
    const record = JSON.parse(text) as ImageRecord;
    if (record.id === id && Array.isArray(record.layers)) return { ...record, names };
  } catch {
    // said below
  }
  throw damaged(path, 'the record of that image');
}

function damaged(path: string, expected: string): ContainerError {
  return new ContainerError(`${path} is damaged: it should hold ${expected}`, {
    hint: 'remove the file, then import or load the image again',
  });
}
