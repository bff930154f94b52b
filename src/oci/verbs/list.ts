/** tinyctr-oci list [-q] [-f table|json] */
import { statSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import type { Globals } from '../globals.ts';
import { describe, listContainers } from '../state.ts';

const headings = ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'];

export function define(program: Command, globals: () => Globals): void {
  program
    .command('list')
    .description('List containers.')
    .option('-q, --quiet', 'ids only')
    .addOption(new Option('-f, --format <format>').choices(['table', 'json']).default('table'))
    .action((options: { quiet?: boolean; format: 'table' | 'json' }) => {
      const { root } = globals();
      if (program.getOptionValueSource('root') === 'cli' && !statSync(root, { throwIfNoEntry: false }))
        throw new ContainerError(`--root ${root}: no such file or directory`);
      const all = listContainers(root).map(describe);
      if (options.quiet) process.stdout.write(all.map(({ id }) => `${id}\n`).join(''));
      else if (options.format === 'json') process.stdout.write(`${JSON.stringify(all)}\n`);
      else process.stdout.write(table(all));
    });
}

function table(all: readonly Record<string, unknown>[]): string {
  const rows = [headings, ...all.map((one) => headings.map((name) => String(one[name.toLowerCase()])))];
  const widths = headings.map((_, column) => Math.max(9, ...rows.map((row) => row[column]!.length)) + 3);
  return rows
    .map(
      (row) =>
        `${row
          .map((text, column) => text.padEnd(widths[column]!))
          .join('')
          .trimEnd()}\n`,
    )
    .join('');
}
