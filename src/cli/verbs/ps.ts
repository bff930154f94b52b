/** tinyctr ps: the containers of this host; what is running is read from their locks and the kernel, not from a file. */
import { type Command, Option } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { type Facts, factsOf, isUp, statusText } from '../../engine/container-facts.ts';
import { listContainers } from '../../engine/containers.ts';
import { keeps, parseFilters } from '../../engine/ps-filter.ts';
import { formatColumns, humanAge } from '../../image/present.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { requireRoot } from '../require.ts';

interface PsOptions {
  all?: true;
  quiet?: true;
  trunc: boolean;
  filter?: string[];
  format: 'table' | 'json';
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('ps')
    .description('List containers.')
    .option('-a, --all', 'also those that have ended')
    .option('-q, --quiet', 'ids only')
    .option('--no-trunc', 'whole ids and commands')
    .option('-f, --filter <name=value>', 'name, id, status, exited, label or ancestor', list)
    .addOption(new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'))
    .action(async (options: PsOptions) => {
      const { root, runRoot } = globals();
      const filters = parseFilters(options.filter ?? []);
      requireRoot();
      await cleanup(root, runRoot);
      const all = options.all || filters.some(({ name }) => name === 'status' || name === 'exited');
      const shown = factsOf(runRoot, listContainers(root))
        .filter(({ status }) => all || isUp(status))
        .filter((facts) => keeps(filters, facts));
      process.stdout.write(print(shown, options, Date.now()));
    });
}

function print(shown: readonly Facts[], { quiet, trunc, format }: PsOptions, now: number): string {
  const idOf = ({ record }: Facts) => (trunc ? record.id.slice(0, 12) : record.id);
  if (quiet) return shown.map((facts) => `${idOf(facts)}\n`).join('');
  if (format === 'json') return shown.map((facts) => `${JSON.stringify(row(facts, trunc, now))}\n`).join('');
  const lines = shown.map((facts) => {
    const { ID, Image, Command, RunningFor, Status, Names } = row(facts, trunc, now);
    return [ID, Image, Command, RunningFor, Status, Names];
  });
  return formatColumns([['CONTAINER ID', 'IMAGE', 'COMMAND', 'CREATED', 'STATUS', 'NAMES'], ...lines]);
}

/** With the keys of `docker ps --format json` that mean something here. */
function row(facts: Facts, trunc: boolean, now: number) {
  const { id, imageName, command, created, name = '', labels } = facts.record;
  const text = JSON.stringify(command.join(' '));
  return {
    ID: trunc ? id.slice(0, 12) : id,
    Image: imageName,
    Command: trunc && text.length > 22 ? `${text.slice(0, 20)}…"` : text,
    CreatedAt: created,
    RunningFor: humanAge(created, now),
    State: facts.status,
    Status: statusText(facts, now),
    Names: name,
    Labels: Object.entries(labels)
      .map((pair) => pair.join('='))
      .join(','),
  };
}
