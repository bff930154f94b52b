/** tinyctr rm CONTAINER…: removes containers that have ended, with what they wrote. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { factsOf, isUp } from '../../engine/container-facts.ts';
import { removeContainer } from '../../engine/containers.ts';
import { listStates } from '../../lifecycle/state.ts';
import { ask } from '../../supervisor/client.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('rm')
    .description('Remove containers that have ended, and all they wrote.')
    .argument('<container...>', 'names, ids or beginnings of ids')
    .option('-f, --force', 'kill those that run')
    .action(async (references: string[], { force = false }: { force?: boolean }) => {
      const { root, runRoot } = globals();
      await forEach(globals(), references, async (record) => {
        const { id, name } = record;
        const { status } = factsOf(runRoot, [record])[0]!;
        if (force) await ask(runRoot, { op: 'stop', root, id, timeoutS: 0 });
        else if (isUp(status) || listStates(runRoot).includes(id))
          throw new ContainerError(`container ${id.slice(0, 12)} is ${isUp(status) ? status : 'running'}`, {
            hint: `end it first, tinyctr stop ${name ?? id.slice(0, 12)}, or tinyctr rm -f`,
          });
        removeContainer(root, id);
        return undefined;
      });
    });
}
