/** tinyctr start CONTAINER…: runs containers that were created, or have ended. */
import { type Command, Option } from 'commander';
import { DETACH_KEYS } from '../../engine/detach-keys.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';
import { refuse } from '../limit-options.ts';

export { prepareSigProxy as prepare } from '../sig-proxy.ts';

interface StartOptions {
  attach?: true;
  interactive?: true;
  detachKeys?: string;
  sigProxy?: boolean;
}

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('start')
    .description('Run containers that were created, or have ended.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .option('-a, --attach', 'show what it writes, and end as it does')
    .option('-i, --interactive', 'pass standard input on')
    .option('--detach-keys <keys>', `what leaves it running, ${DETACH_KEYS} by default`)
    .option('--sig-proxy', 'with -a, signals are the container’s, the default (--sig-proxy=false)')
    .addOption(new Option('--no-sig-proxy').hideHelp())
    .action(async (references: string[], given: StartOptions) => {
      const { root, runRoot } = globals();
      if ((given.attach || given.interactive) && references.length > 1)
        throw new UsageError('-a and -i are for one container');
      if (!given.attach && !given.interactive && (given.detachKeys ?? given.sigProxy) !== undefined)
        throw new UsageError('--detach-keys and --sig-proxy go with -a or -i');
      await forEach(globals(), references, async ({ id }) => {
        if (!given.attach && !given.interactive) {
          await ask(runRoot, { op: 'start', root, id });
          return undefined;
        }
        const { attach } = await import('../attach.ts');
        process.exitCode = await attach(globals(), id, {
          input: given.interactive === true,
          keys: given.detachKeys,
          proxy: given.sigProxy ?? true,
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
