/** tinyctr start CONTAINER…: runs containers that were created, or have ended. */
import type { Command } from 'commander';
import { UsageError } from '../../engine/usage-error.ts';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';
import { refuse } from '../limit-options.ts';

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('start')
    .description('Run containers that were created, or have ended.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .option('-a, --attach', 'show what it writes, and end as it does')
    .option('-i, --interactive', 'pass standard input on')
    .option('--detach-keys <keys>', 'what leaves it running: ctrl-p,ctrl-q')
    .action(async (references: string[], given: { attach?: true; interactive?: true; detachKeys?: string }) => {
      const { root, runRoot } = globals();
      if ((given.attach || given.interactive) && references.length > 1)
        throw new UsageError('-a and -i are for one container');
      await forEach(globals(), references, async ({ id }) => {
        if (!given.attach && !given.interactive) {
          await ask(runRoot, { op: 'start', root, id });
          return undefined;
        }
        const { attach } = await import('../attach.ts');
        process.exitCode = await attach(globals(), id, {
          input: given.interactive === true,
          keys: given.detachKeys,
          before: () => ask(runRoot, { op: 'start', root, id }),
        });
        return null;
      });
    });
  refuse(
    command,
    '--trace [file]',
    'is of run and exec: here the supervisor builds the container, in a process of its own that nobody watches',
  );
}
