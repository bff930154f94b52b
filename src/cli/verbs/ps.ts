/** tinyctr ps: the containers of this host; what is running is read from their locks, not from a file. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { bootId, type ContainerRecord, listContainers } from '../../engine/containers.ts';
import { listStates } from '../../lifecycle/state.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('ps')
    .description('List containers.')
    .option('-a, --all', 'also those that have ended')
    .option('-q, --quiet', 'ids only')
    .action(async (options: { all?: boolean; quiet?: boolean }) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const running = new Set(listStates(runRoot));
      const shown = listContainers(root).filter(({ id }) => options.all || running.has(id));
      if (options.quiet) for (const { id } of shown) process.stdout.write(`${id.slice(0, 12)}\n`);
      else process.stdout.write(table(shown, running));
    });
}

const inWords = { memory: 'out of memory', pids: 'processes refused', cpu: 'throttled' };

function statusOf({ ended, boot = bootId() }: ContainerRecord): string {
  if (!ended) return boot === bootId() ? 'Created' : 'Lost: the machine was started anew (tinyctr cleanup)';
  const hit = Object.keys(ended.limitsHit ?? {}) as (keyof typeof inWords)[];
  return [`Exited (${ended.exitCode})`, ...hit.map((limit) => inWords[limit])].join(', ');
}

function table(records: readonly ContainerRecord[], running: ReadonlySet<string>): string {
  const rows = records.map((record) => [
    record.id.slice(0, 12),
    record.imageName,
    JSON.stringify(record.command.join(' ')),
    record.created.slice(0, 19).replace('T', ' '),
    running.has(record.id) ? 'Up' : statusOf(record),
    record.name ?? '',
  ]);
  const all = [['CONTAINER ID', 'IMAGE', 'COMMAND', 'CREATED', 'STATUS', 'NAMES'], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)) + 3);
  return all
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('')
          .trimEnd()}\n`,
    )
    .join('');
}
