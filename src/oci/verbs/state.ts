/** tinyctr-oci state ID */
import type { Command } from 'commander';
import type { Globals } from '../globals.ts';
import { describe, findContainer } from '../state.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('state')
    .description('Print the state of a container as JSON.')
    .argument('<container-id>')
    .action((id: string) => {
      process.stdout.write(`${JSON.stringify(describe(findContainer(globals().root, id)), null, 2)}\n`);
    });
}
