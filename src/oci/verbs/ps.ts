/** tinyctr-oci ps [-f table|json] ID [OPTION…], options of ps(1) */
import { type Command, Option } from 'commander';
import { cgroupRoot } from '../../core/host/cgroup.ts';
import { processText } from '../../engine/process-table.ts';
import { processesIn } from '../../lifecycle/processes.ts';
import type { Globals } from '../globals.ts';
import { findContainer } from '../state.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('ps')
    .description('List the processes of a container, by their pids on the host.')
    .argument('<container-id>')
    .argument('[ps-options...]', 'of ps(1), which fills the table then, such as -o pid,rss')
    .passThroughOptions()
    .addOption(new Option('-f, --format <format>').choices(['table', 'json']).default('table'))
    .action((id: string, psOptions: string[], options: { format: 'table' | 'json' }) => {
      const pids = processesIn(cgroupRoot() + findContainer(globals().root, id).state.cgroup);
      if (options.format === 'json') process.stdout.write(`${JSON.stringify(pids)}\n`);
      else process.stdout.write(processText(pids, psOptions));
    });
}
