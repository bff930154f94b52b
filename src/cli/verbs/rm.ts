/** tinyctr rm CONTAINER…: removes containers that have ended, with what they wrote. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { findContainer, removeContainer } from '../../engine/containers.ts';
import { listStates } from '../../lifecycle/state.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('rm')
    .description('Remove containers that have ended, and all they wrote.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .action(async (references: string[]) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const running = new Set(listStates(runRoot));
      const found = references.map((reference) => findContainer(root, reference));
      const alive = found.find(({ id }) => running.has(id));
      if (alive)
        throw new ContainerError(`container ${alive.id.slice(0, 12)} is running`, {
          hint: 'end it first; nothing was removed',
        });
      for (const [i, { id }] of found.entries()) {
        removeContainer(root, id);
        process.stdout.write(`${references[i]}\n`);
      }
    });
}
