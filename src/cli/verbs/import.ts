/** tinyctr import: a root filesystem becomes an image. */
import type { Command } from 'commander';
import { imageEvent, tell } from '../../engine/journal.ts';
import { familiarName, parseReference } from '../../image/reference.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('import')
    .description('Make an image of a root filesystem: a tar archive (plain or gzip), a directory, or - for stdin.')
    .argument('<source>', 'FILE, DIR or -')
    .argument('[name]', 'NAME[:TAG]')
    .option('-c, --change <instruction>', 'CMD, ENTRYPOINT, ENV, EXPOSE, USER, WORKDIR or STOPSIGNAL', collect, [])
    .action(async (source: string, name: string | undefined, options: { change: string[] }) => {
      requireRoot();
      const { importImage } = await import('../../image/import.ts');
      const { root } = globals();
      const image = await importImage(root, source, name, options.change);
      const id = `sha256:${image.id}`;
      const tagged = name === undefined ? [] : [imageEvent('tag', id, familiarName(parseReference(name)))];
      tell(root, [...tagged, imageEvent('import', id, id)]);
      process.stdout.write(`${id}\n`);
    });
}

function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}
