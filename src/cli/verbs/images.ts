/** tinyctr images: what the store has. */
import type { Command } from 'commander';
import { formatJson, formatTable, imageRows } from '../../image/present.ts';
import { listImages } from '../../image/records.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('images')
    .description('List images.')
    .option('-q, --quiet', 'only ids')
    .option('--digests', 'also what registries know them by')
    .addOption(formatOption('tinyctr images', 'lines'))
    .action((options: { quiet?: boolean; digests?: boolean; format: string }) => {
      requireRoot();
      const rows = imageRows(listImages(globals().root));
      if (options.quiet) process.stdout.write(rows.map(({ image }) => `${image.id.slice(0, 12)}\n`).join(''));
      else if (options.format === 'json') process.stdout.write(formatJson(rows, Date.now()));
      else process.stdout.write(formatTable(rows, Date.now(), options.digests));
    });
}
