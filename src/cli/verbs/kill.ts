/** tinyctr kill CONTAINER…: sends a signal, SIGKILL if none is said. */
import type { Command } from 'commander';
import { parseSignal } from '../../engine/identity.ts';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('kill')
    .description('Send a signal to the first process of containers.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .option('-s, --signal <signal>', 'which one', 'KILL')
    .action(async (references: string[], given: { signal: string }) => {
      const { root, runRoot } = globals();
      const signal = parseSignal('--signal', given.signal);
      await forEach(globals(), references, async ({ id }) => {
        await ask(runRoot, { op: 'kill', root, id, signal });
        return undefined;
      });
    });
}
