/** tinyctr tag: one more name for an image. */
import type { Command } from 'commander';
import { imageEvent, tell } from '../../engine/journal.ts';
import { familiarName, parseReference } from '../../image/reference.ts';
import { tagImage } from '../../image/tag.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('tag')
    .description('Give an image one more name. A name that another image has moves to this one.')
    .argument('<source>', 'name or id')
    .argument('<target>', 'NAME[:TAG], with the host of its registry before it for a push')
    .action(async (source: string, target: string) => {
      requireRoot();
      const { root } = globals();
      const id = await tagImage(root, source, target);
      tell(root, [imageEvent('tag', `sha256:${id}`, familiarName(parseReference(target)))]);
    });
}
