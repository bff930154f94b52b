/** tinyctr wait CONTAINER…: waits until they have ended, and prints their exit statuses. */
import type { Command } from 'commander';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('wait')
    .description('Wait until containers have ended, and print their exit statuses.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .action(async (references: string[]) => {
      const { root, runRoot } = globals();
      await forEach(globals(), references, async ({ id }) => {
        const { exitCode } = await ask(runRoot, { op: 'wait', root, id });
        return String(exitCode);
      });
    });
}
