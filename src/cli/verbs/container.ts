/** tinyctr container: the verbs of containers as docker groups them (main.ts takes the word away), and `container prune`. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { type Pruned, pruneContainers, pruneFilter } from '../../engine/prune.ts';
import { humanSize } from '../../image/present.ts';
import { confirmedAtTerminal } from '../confirm.ts';
import { containerVerbs } from '../container-verbs.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { requireRoot } from '../require.ts';
import { defineContainerInspect } from './inspect.ts';

export function define(program: Command, globals: () => Globals): void {
  const group = program
    .command('container')
    .description('Containers: what the verbs of the same names do, and prune.')
    .addHelpText('after', `\nVerbs of tinyctr that may follow as well: ${Object.keys(containerVerbs).join(', ')}`);
  defineContainerInspect(group, globals);
  group
    .command('prune')
    .description('Remove containers that have ended, or never ran.')
    .option('-f, --force', "don't ask")
    .option('--filter <filter>', 'until=TIME (24h: made before), label=KEY[=VALUE], label!=…', list)
    .action(async (options: { force?: true; filter?: string[] }) => {
      requireRoot();
      const keeps = pruneFilter(options.filter ?? [], Date.now());
      if (!options.force && !(await confirmedAtTerminal('This will remove all stopped containers.'))) return;
      const { root, runRoot } = globals();
      await cleanup(root, runRoot);
      const pruned = pruneContainers(root, runRoot, keeps);
      process.stdout.write(`${deletedContainers(pruned)}Total reclaimed space: ${humanSize(pruned.bytes)}\n`);
    });
}

export const deletedContainers = ({ ids }: Pruned): string =>
  ids.length > 0 ? `Deleted Containers:\n${ids.map((id) => `${id}\n`).join('')}\n` : '';
