/**
 * Images saved by `docker save` (also by skopeo and podman as docker-archive): manifest.json lists configurations and
 * layers by file name. Host side. Source: moby's image/spec, v1.2 "Combined Image JSON + Filesystem Changeset Format".
 */
import { createHash } from 'node:crypto';
import { ContainerError } from '../core/kernel/error.ts';
import { asObject, asString, asStrings, parseJson } from './config.ts';
import { limits } from './limits.ts';
import type { SavedImage } from './oci-layout.ts';
import { parseReference } from './reference.ts';
import type { SavedFiles } from './saved-files.ts';

const WHERE = 'manifest.json';

/** All images of the archive. Throws ContainerError. Layers are checked by their diff id when they are unpacked. */
export function readDockerArchive(files: SavedFiles): SavedImage[] {
  const list = parseJson(files.read(WHERE), WHERE);
  if (!Array.isArray(list) || list.length === 0) throw new ContainerError(`${WHERE} has no list of images`);
  if (list.length > limits.manifests)
    throw new ContainerError(`${WHERE} has ${list.length} images, where at most ${limits.manifests} are allowed`);
  return list.map((item) => readItem(files, asObject(item, WHERE, 'an image')));
}

function readItem(files: SavedFiles, item: Record<string, unknown>): SavedImage {
  const layers = asStrings(item.Layers, WHERE, 'Layers');
  if (layers.length > limits.layers)
    throw new ContainerError(`${WHERE} has ${layers.length} layers, where at most ${limits.layers} are allowed`);
  return {
    configuration: readConfiguration(files, asString(item.Config, WHERE, 'Config')),
    documents: [],
    layers: layers.map((file) => ({ file })),
    references: asStrings(item.RepoTags ?? [], WHERE, 'RepoTags').map(parseReference),
  };
}

/** The file is named by the digest of its bytes, as <hex>.json or as blobs/sha256/<hex>. */
function readConfiguration(files: SavedFiles, file: string): Buffer {
  const bytes = files.read(file);
  const named = /^(?:([a-f0-9]{64})\.json|blobs\/sha256\/([a-f0-9]{64}))$/.exec(file);
  const actual = createHash('sha256').update(bytes).digest('hex');
  if (named !== null && (named[1] ?? named[2]) !== actual)
    throw new ContainerError(`the configuration ${file} is damaged: its digest is ${actual}`);
  return bytes;
}
