/** tinyctr-oci pause ID */
import type { Command } from 'commander';
import { setPaused } from '../freeze.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('pause')
    .description('Stop all processes of a container where they are.')
    .argument('<container-id>')
    .action((id: string) => setPaused(globals().root, id, true));
}
