/** tinyctr restart CONTAINER…: stop, then start. */
import type { Command } from 'commander';
import { containerEvent, tell } from '../../engine/journal.ts';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';
import { olderName, type StopOptions, stopContainer, stopWish } from './stop.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('restart')
    .description('Stop containers and start them again.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .option('-t, --timeout <seconds>', 'how long to wait before it is killed')
    .addOption(olderName())
    .option('-s, --signal <signal>', 'the signal that asks')
    .action(async (references: string[], given: StopOptions) => {
      const { root, runRoot } = globals();
      const wish = stopWish(given);
      await forEach(globals(), references, async (record) => {
        const { id } = record;
        await stopContainer(globals(), id, wish);
        await ask(runRoot, { op: 'start', root, id });
        tell(root, [containerEvent(record, 'restart')]);
        return undefined;
      });
    });
}
