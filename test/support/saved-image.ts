/** Saved images made by hand: nothing of src/image is used. */
import { createHash } from 'node:crypto';
import * as a from './archives.ts';

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
export const architecture: string = process.arch === 'x64' ? 'amd64' : process.arch;

export interface HandmadeImage {
  /** Plain archives, lowest first. */
  layers: readonly Buffer[];
  tags: readonly string[];
  /** Fields of the configuration beside those that every image has. */
  more?: object;
}

export function configurationOf({ layers, more }: HandmadeImage): Buffer {
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) };
  const document = { architecture, os: 'linux', created: '2026-01-02T03:04:05Z', config: { Cmd: ['/bin/sh'] }, rootfs };
  return Buffer.from(JSON.stringify({ ...document, ...more }));
}

/** As `docker save` of version 24 and before writes them; each layer is there once. */
export function dockerArchive(...images: readonly HandmadeImage[]): Buffer {
  const files = new Map<string, Buffer>();
  const manifest = images.map((image) => {
    const configuration = configurationOf(image);
    files.set(`${sha256(configuration)}.json`, configuration);
    for (const layer of image.layers) files.set(`${sha256(layer)}/layer.tar`, layer);
    const layers = image.layers.map((layer) => `${sha256(layer)}/layer.tar`);
    return { Config: `${sha256(configuration)}.json`, RepoTags: image.tags, Layers: layers };
  });
  files.set('manifest.json', Buffer.from(JSON.stringify(manifest)));
  return a.archive(...[...files].map(([name, data]) => a.file(name, data.toString('latin1'), { data })));
}
