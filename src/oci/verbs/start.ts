/** tinyctr-oci start ID */
import type { Command } from 'commander';
import type { Globals } from '../globals.ts';
import { startContainer } from '../start.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('start')
    .description('Start a created container.')
    .argument('<container-id>')
    .action((id: string) => startContainer(globals(), id));
}
