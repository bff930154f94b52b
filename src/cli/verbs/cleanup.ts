/** tinyctr cleanup [--dry-run] [--format text|json]: every command cleans up lightly for itself; this one finds all, and tells. */
import type { Command } from 'commander';
import { effects, findLeftovers, type Leftover, undoLeftovers } from '../../engine/leftovers.ts';
import { printError } from '../errors.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

type Told = Leftover & { removed: boolean };

export function define(program: Command, globals: () => Globals): void {
  program
    .command('cleanup')
    .description('Remove what dead processes of tinyctr left: docs/cleanup.md lists each kind.')
    .option('--dry-run', 'list it, and change nothing')
    .addOption(formatOption('tinyctr cleanup', 'object', 'text'))
    .action(async ({ dryRun = false, format }: { dryRun?: boolean; format: 'text' | 'json' }) => {
      const places = globals();
      requireRoot();
      const { found, errors } = findLeftovers(places);
      if (!dryRun) errors.splice(0, errors.length, ...(await undoLeftovers(places)));
      const left = new Set((dryRun ? found : findLeftovers(places).found).map(keyOf));
      const told = found.map((leftover) => ({ ...leftover, removed: !left.has(keyOf(leftover)) }));
      process.stdout.write(format === 'json' ? asJson(told) : asText(told, dryRun));
      for (const error of errors) process.exitCode = await printError(error, places);
    });
}

const keyOf = ({ kind, name }: Leftover): string => `${kind} ${name}`;

function asText(told: readonly Told[], dryRun: boolean): string {
  const fate = ({ kind, removed }: Told) => (dryRun || removed ? `: ${effects[kind].inverse}` : ': STILL THERE');
  return told.map((each) => `${each.kind.padEnd(10)}${each.name}${fate(each)}\n`).join('');
}

function asJson(told: readonly Told[]): string {
  return `${JSON.stringify(
    told.map((each) => ({ ...each, inverse: effects[each.kind].inverse })),
    null,
    2,
  )}\n`;
}
