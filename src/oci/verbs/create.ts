/** tinyctr-oci create [options] ID */
import type { Command } from 'commander';
import { requireRoot } from '../../cli/require.ts';
import { createContainer } from '../create.ts';
import type { Globals } from '../globals.ts';
import { addCreateOptions, type CreateOptions, traced } from './options.ts';

export function define(program: Command, globals: () => Globals): void {
  const command = program.command('create').description('Create a container of a bundle; it waits for its start.');
  addCreateOptions(command).action(async (id: string, options: CreateOptions) => {
    requireRoot();
    await createContainer(await traced(globals(), options.trace), id, options);
  });
}
