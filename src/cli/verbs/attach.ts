/** tinyctr attach CONTAINER: its output here, its input from here. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { findContainer } from '../../engine/containers.ts';
import { attach } from '../attach.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('attach')
    .description('Show what a running container writes, and give it what is typed.')
    .argument('<container>', 'name, id or beginning of an id')
    .option('--no-stdin', 'give it nothing')
    .option('--detach-keys <keys>', 'what leaves it running: ctrl-p,ctrl-q')
    .action(async (reference: string, given: { stdin: boolean; detachKeys?: string }) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const { id } = findContainer(root, reference);
      process.exitCode = await attach(globals(), id, { input: given.stdin, keys: given.detachKeys });
    });
}
