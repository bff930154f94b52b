/**
 * Layers with other owners, for a store whose file system can't be idmapped: copied once for each map, beside the layer as
 * <layer>.<16 hex of the map's digest>, and removed with it. Host side.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ContainerError } from '../core/kernel/error.ts';
import type { IdMaps } from '../core/plan/plan.ts';
import { hostId } from '../core/plan/user-namespace.ts';
import { layersFolder } from './layout.ts';
import { limits } from './limits.ts';
import { mappedXattr } from './mapped-xattr.ts';
import type { Entry, EntrySink } from './tar/entry.ts';
import { Feed } from './tar/feed.ts';
import { readArchive } from './tar/reader.ts';
import { archiveDirectory } from './tar/walk.ts';
import { TreeWriter } from './unpack/writer.ts';
import { withWork } from './with-work.ts';
import type { Work } from './work.ts';

/** Their names take more of mount(2)'s page of options. */
const MOST_LAYERS = 75;

/** The names of the copies, in the layers' order; those that are not there yet are made. */
export async function shiftedLayers(root: string, layers: readonly string[], maps: IdMaps): Promise<string[]> {
  if (layers.length > MOST_LAYERS)
    throw new ContainerError(
      `the image has ${layers.length} layers, and copies with other owners can be mounted of ${MOST_LAYERS} at most`,
    );
  const suffix = createHash('sha256').update(JSON.stringify(maps)).digest('hex').slice(0, 16);
  const missing = layers.filter((layer) => !existsSync(join(layersFolder(root), `${layer}.${suffix}`)));
  if (missing.length > 0)
    await withWork(root, async (work) => {
      for (const layer of missing) work.publishCopy(await copyLayer(root, work, layer, maps), layer, suffix);
    });
  return layers.map((layer) => `${layer}.${suffix}`);
}

async function copyLayer(root: string, work: Work, layer: string, maps: IdMaps): Promise<string> {
  const tree = work.newTree();
  const writer = new TreeWriter(tree);
  try {
    const feed = new Feed(readArchive(shifted(writer, maps), limits));
    for await (const chunk of archiveDirectory(join(layersFolder(root), layer), 'layer')) feed.write(chunk);
    feed.end();
  } finally {
    writer.close();
  }
  return tree;
}

/** An id without a map stays what it is: it is nobody's inside either way. */
function shifted(sink: EntrySink, { uid, gid }: IdMaps): EntrySink {
  const shift = (entry: Entry): Entry => ({
    ...entry,
    uid: hostId(uid, entry.uid) ?? entry.uid,
    gid: hostId(gid, entry.gid) ?? entry.gid,
    xattrs: new Map([...entry.xattrs].map(([name, value]) => [name, mappedXattr(name, value, { uid, gid })])),
  });
  return {
    begin: (entry) => sink.begin(shift(entry)),
    data: (chunk, position) => sink.data(chunk, position),
    end: (entry) => sink.end(shift(entry)),
  };
}
