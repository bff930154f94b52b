/** tinyctr-oci delete [--force] ID */
import type { Command } from 'commander';
import { deleteContainer } from '../delete.ts';
import type { Globals } from '../globals.ts';
import { refuse } from './options.ts';

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('delete')
    .description('Delete what a container holds that has stopped or was never started.')
    .argument('<container-id>')
    .option('-f, --force', 'kill it first if it runs; an unknown id is no error')
    .action((id: string, options: { force?: boolean }) => deleteContainer(globals(), id, options.force ?? false));
  refuse(command, '-r, --regex', 'is left out on purpose: a container is deleted by its whole name');
}
