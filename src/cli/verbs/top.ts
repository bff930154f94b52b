/** tinyctr top CONTAINER [OPTION…]: its processes; options are of ps(1). */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { factsOf } from '../../engine/container-facts.ts';
import { findContainer } from '../../engine/containers.ts';
import { processRows, processText } from '../../engine/process-table.ts';
import { processesIn } from '../../lifecycle/processes.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('top')
    .description('Show the processes of a container, by their pids on the host.')
    .argument('<container>', 'name, id or beginning of an id')
    .argument('[ps-options...]', 'of ps(1), which fills the table then, such as -o pid,rss')
    .addOption(formatOption('tinyctr top', 'object'))
    .passThroughOptions()
    .allowUnknownOption()
    .action(async (reference: string, psOptions: string[], { format }: { format: string }) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const [facts] = factsOf(root, runRoot, [findContainer(root, reference)]);
      if (facts!.cgroup === undefined)
        throw new ContainerError(`container ${facts!.record.id.slice(0, 12)} is not running`, { exitCode: 1 });
      const pids = processesIn(facts!.cgroup);
      const asJson = () => `${JSON.stringify(processRows(pids, psOptions))}\n`;
      process.stdout.write(format === 'json' ? asJson() : processText(pids, psOptions));
    });
}
