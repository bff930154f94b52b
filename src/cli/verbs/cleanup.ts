/** tinyctr cleanup: every command cleans up lightly for itself; this one tells what was found. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { cleanBlobs, cleanStore } from '../../image/clean.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('cleanup')
    .description('Remove what dead containers left: processes, cgroups, state, half-fetched and half-unpacked layers.')
    .action(async () => {
      const { root, runRoot } = globals();
      requireRoot();
      for (const id of await cleanup(root, runRoot)) process.stdout.write(`${id}\n`);
      cleanStore(root);
      cleanBlobs(root);
    });
}
