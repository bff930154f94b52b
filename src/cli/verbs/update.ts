/** tinyctr update CONTAINER…: other limits, or another restart policy. */
import type { Command } from 'commander';
import { type UpdateOptions, updateContainer } from '../../engine/update.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { forEach } from '../each.ts';
import type { Globals } from '../globals.ts';
import { addRow, limitOptions, namesOf, refuse, refusedLimits } from '../limit-options.ts';

/** Those of `run` that docker's update has. */
const known = [
  ...['--memory', '--memory-swap', '--memory-reservation', '--cpus', '--cpu-shares', '--cpu-quota', '--cpu-period'],
  ...['--cpuset-cpus', '--cpuset-mems', '--pids-limit', '--blkio-weight'],
];

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('update')
    .description('Change the limits of containers, or what brings them back; at once where they run.')
    .argument('<container...>', 'names, ids or beginnings of ids');
  for (const row of limitOptions)
    if (known.includes(namesOf(row).at(-1)!)) addRow(command, row);
    else refuse(command, row[0], 'can’t be changed: it is for run and create');
  for (const [flags, reason] of refusedLimits) refuse(command, flags, reason);
  command.option('--restart <policy>', 'no, on-failure[:n], always or unless-stopped');
  command.action(async (references: string[], options: UpdateOptions) => {
    if (Object.keys(options).length === 0)
      throw new UsageError('nothing to change: give limits, such as --memory, or --restart');
    const { root, runRoot } = globals();
    await forEach(globals(), references, async (record) => {
      await updateContainer(root, runRoot, record, options);
      return undefined;
    });
  });
}
