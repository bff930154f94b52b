/** tinyctr logs CONTAINER: what it wrote. */
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { findContainer } from '../../engine/containers.ts';
import { logFiles } from '../../engine/logs.ts';
import { storedIfWhole } from '../../engine/stored-file.ts';
import type { Globals } from '../globals.ts';
import { refuse } from '../limit-options.ts';
import { logWish, printLogs } from '../print-logs.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  const logs = program
    .command('logs')
    .description('Print what a container wrote: its standard output and its standard error, each where it belongs.')
    .argument('<container>', 'name, id or beginning of an id')
    .option('-f, --follow', 'and what it goes on to write')
    .option('-n, --tail <lines>', 'only the last lines', 'all')
    .option('--since <time>', 'from then on: 2026-01-31T12:00:00Z, 1769860800, or 10m ago')
    .option('--until <time>', 'up to then')
    .option('-t, --timestamps', 'each line with its time')
    .action(async (reference: string, given: Parameters<typeof logWish>[0]) => {
      const { root, runRoot } = globals();
      const wish = logWish(given, Date.now());
      requireRoot();
      await cleanup(root, runRoot);
      const { id } = findContainer(root, reference);
      if (storedIfWhole(root, id)?.log.driver === 'none')
        throw new ContainerError(`container ${id.slice(0, 12)} keeps no log: it was made with --log-driver none`);
      if (logFiles(`${root}/containers/${id}`).length === 0)
        throw new ContainerError(`container ${id.slice(0, 12)} keeps no log: what it wrote went to where it was run`, {
          hint: 'tinyctr run -d keeps one',
        });
      await printLogs(globals(), id, wish);
    });
  refuse(logs, '--details', 'is for log drivers with details, and json-file has none');
}
