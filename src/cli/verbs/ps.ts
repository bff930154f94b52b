/** tinyctr ps: the containers of this host; what is running is read from their locks and the kernel, not from a file. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { type Facts, factsOf, isUp } from '../../engine/container-facts.ts';
import { listContainers } from '../../engine/containers.ts';
import { keepers, type Places, parseFilters } from '../../engine/ps-filter.ts';
import { type PsRow, psDetails, psRow } from '../../engine/ps-row.ts';
import { parseWhole } from '../../engine/sizes.ts';
import { formatColumns } from '../../image/present.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { requireRoot } from '../require.ts';

interface PsOptions {
  all?: true;
  quiet?: true;
  trunc: boolean;
  latest?: true;
  last?: string;
  size?: boolean;
  filter?: string[];
  format: string;
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('ps')
    .description('List containers.')
    .option('-a, --all', 'also those that have ended')
    .option('-q, --quiet', 'ids only')
    .option('-l, --latest', 'the one that was created last')
    .option('-n, --last <number>', 'those that were created last')
    .option('-s, --size', 'what each has written')
    .option('--no-trunc', 'whole ids and commands')
    .option(
      '-f, --filter <name=value>',
      'id, name, label, status, exited, ancestor, before, since, volume or network',
      list,
    )
    .addOption(formatOption('tinyctr ps', 'lines'))
    .action(async (options: PsOptions) => {
      const places = globals();
      const filters = parseFilters(options.filter ?? []);
      const last = options.latest ? 1 : options.last === undefined ? 0 : parseLast(options.last);
      requireRoot();
      await cleanup(places.root, places.runRoot);
      const keeps = keepers(filters, places);
      const all = options.all || last > 0 || filters.some(({ name }) => name === 'status' || name === 'exited');
      const shown = factsOf(places.root, places.runRoot, listContainers(places.root))
        .filter((facts) => all || isUp(facts))
        .filter(keeps);
      process.stdout.write(print(last > 0 ? shown.slice(0, last) : shown, options, places));
    });
}

/** -1 is docker's word for all. @throws UsageError */
const parseLast = (text: string): number =>
  text === '-1' ? 0 : parseWhole('--last', text, 1, Number.MAX_SAFE_INTEGER);

function print(shown: readonly Facts[], { quiet, trunc, format, size = false }: PsOptions, places: Places): string {
  if (quiet) return shown.map(({ record }) => `${trunc ? record.id.slice(0, 12) : record.id}\n`).join('');
  const now = Date.now();
  const row = (facts: Facts) => psRow(facts, places, { trunc, size, now });
  if (format === 'json')
    return shown.map((facts) => `${JSON.stringify({ ...row(facts), ...psDetails(facts, places, trunc) })}\n`).join('');
  const columns: (keyof PsRow)[] = ['ID', 'Image', 'Command', 'RunningFor', 'Status', 'Ports', 'Names'];
  const heads = ['CONTAINER ID', 'IMAGE', 'COMMAND', 'CREATED', 'STATUS', 'PORTS', 'NAMES'];
  if (size) {
    columns.push('Size');
    heads.push('SIZE');
  }
  const lines = shown.map((facts) => {
    const cells = row(facts);
    return columns.map((column) => cells[column] ?? '');
  });
  return formatColumns([heads, ...lines]);
}
