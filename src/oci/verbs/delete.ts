/** tinyctr-oci delete [--force] ID */
import type { Command } from 'commander';
import { deleteContainer } from '../delete.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('delete')
    .description('Delete what a stopped container holds.')
    .argument('<container-id>')
    .option('-f, --force', 'kill it first if it runs; an unknown id is no error')
    .action((id: string, options: { force?: boolean }) => deleteContainer(globals(), id, options.force ?? false));
}
