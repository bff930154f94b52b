/** tinyctr-oci run [options] ID */
import type { Command } from 'commander';
import { requireRoot } from '../../cli/require.ts';
import type { Globals } from '../globals.ts';
import { addCreateOptions, type CreateOptions, traced } from './options.ts';

export function define(program: Command, globals: () => Globals): void {
  const command = program.command('run').description('Create a container of a bundle, start it, and wait for its end.');
  addCreateOptions(command)
    .option('-d, --detach', 'do not wait for its end')
    .option('--keep', 'keep its state when it has ended')
    .option('--no-subreaper', 'adopt no orphans of the container: none are in any case')
    .action(async (id: string, options: CreateOptions & { detach?: boolean; keep?: boolean }) => {
      requireRoot();
      const watched = await traced(globals(), options.trace);
      if (options.detach) {
        const { runDetached } = await import('../run-detached.ts');
        await runDetached(watched, id, options);
      } else {
        const { runContainer } = await import('../run.ts');
        process.exitCode = await runContainer(watched, id, options);
      }
    });
}
