/** tinyctr pause and unpause CONTAINER…: the freezer of their cgroups. */
import type { Command } from 'commander';
import { setFrozen } from '../../core/host/freeze.ts';
import { ContainerError } from '../../core/kernel/error.ts';
import { factsOf } from '../../engine/container-facts.ts';
import { containerEvent, tell } from '../../engine/journal.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';

export function define(program: Command, globals: () => Globals): void {
  defineVerb(program, globals, 'pause', 'Stop all processes of containers where they are.', true);
}

export function defineVerb(
  program: Command,
  globals: () => Globals,
  name: string,
  description: string,
  frozen: boolean,
): void {
  program
    .command(name)
    .description(description)
    .argument('<container...>', 'names, ids or beginnings of ids')
    .action(async (references: string[]) => {
      await forEach(globals(), references, async (record) => {
        const [facts] = factsOf(globals().root, globals().runRoot, [record]);
        const { status, cgroup, isPaused } = facts!;
        if (cgroup === undefined || isPaused === frozen)
          throw new ContainerError(
            `container ${record.id.slice(0, 12)} is ${status}, not ${frozen ? 'running' : 'paused'}`,
          );
        setFrozen(cgroup, frozen);
        tell(globals().root, [containerEvent(record, name)]);
        return undefined;
      });
    });
}
