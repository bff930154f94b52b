/** tinyctr-oci resume ID */
import type { Command } from 'commander';
import { setPaused } from '../freeze.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('resume')
    .description('Let the processes of a paused container go on.')
    .argument('<container-id>')
    .action((id: string) => setPaused(globals().root, id, false));
}
