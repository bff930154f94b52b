/** tinyctr image: the verbs of images as docker groups them, and `image prune`. */
import type { Command } from 'commander';
import { pruneEvent, tell } from '../../engine/journal.ts';
import { storedBytes } from '../../image/blob-list.ts';
import { humanSize } from '../../image/present.ts';

import { type PruneOptions, pruneImages, readUntil } from '../../image/prune.ts';

import { confirmed } from '../confirm.ts';
import type { Globals } from '../globals.ts';
import { tellRemoved } from '../removed-images.ts';
import { requireRoot } from '../require.ts';
import { define as defineHistory } from './history.ts';
import { define as defineImages } from './images.ts';
import { define as defineImport } from './import.ts';
import { defineImageInspect as defineInspect } from './inspect.ts';
import { define as defineLoad } from './load.ts';
import { define as definePull } from './pull.ts';
import { define as definePush } from './push.ts';
import { define as defineRmi } from './rmi.ts';
import { define as defineSave } from './save.ts';
import { define as defineTag } from './tag.ts';

export function define(program: Command, globals: () => Globals): void {
  const image = program.command('image').description('Images: what the verbs of the same names do, and prune.');
  for (const defineVerb of [
    defineHistory,
    defineImport,
    defineInspect,
    defineLoad,
    definePull,
    definePush,
    defineSave,
    defineTag,
  ])
    defineVerb(image, globals);
  defineImages(image, globals);
  rename(image, 'images', 'ls', 'list');
  defineRmi(image, globals);
  rename(image, 'rmi', 'rm', 'remove');
  definePrune(image, globals);
}

function rename(group: Command, name: string, shorter: string, alias: string): void {
  group.commands
    .find((command) => command.name() === name)!
    .name(shorter)
    .alias(alias);
}

function definePrune(image: Command, globals: () => Globals): void {
  image
    .command('prune')
    .description('Remove images without a tag that no container uses.')
    .option('-a, --all', 'also images with a tag')
    .option('-f, --force', "don't ask")
    .option('--filter <filter>', 'until=TIME: only images made before (24h ago, 2026-01-31, seconds since the epoch)')
    .action(async (options: { all?: boolean; force?: boolean; filter?: string }) => {
      requireRoot();
      const all = options.all === true;
      const until = options.filter === undefined ? undefined : readUntil(options.filter, Date.now());
      if (!options.force && !(await confirmed(whichImages(all)))) return;
      const { text, bytes } = prunedImages(globals().root, { all, until });
      process.stdout.write(`${text}Total reclaimed space: ${humanSize(bytes)}\n`);
    });
}

/** In the words of docker's questions. */
export const whichImages = (all: boolean): string =>
  all ? 'images without at least one container associated to them' : 'dangling images';

/** What is gone, as docker lists it, and what that gave back. */
export function prunedImages(root: string, options: PruneOptions): { text: string; bytes: number } {
  const before = storedBytes(root);
  const removed = pruneImages(root, options);
  for (const one of removed) tellRemoved(root, one.deleted[0]!, one);
  const lines = removed.flatMap(({ untagged, deleted }) => [
    ...untagged.map((name) => `untagged: ${name}\n`),
    ...deleted.map((digest) => `deleted: ${digest}\n`),
  ]);
  const bytes = Math.max(0, before - storedBytes(root));
  tell(root, [pruneEvent('image', bytes)]);
  return { text: lines.length > 0 ? `Deleted Images:\n${lines.join('')}\n` : '', bytes };
}
