/** tinyctr rename CONTAINER NAME. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { findContainer, renameContainer } from '../../engine/containers.ts';
import { checkName } from '../../engine/identity.ts';
import { containerEvent, tell } from '../../engine/journal.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('rename')
    .description('Give a container another name.')
    .argument('<container>', 'name, id or beginning of an id')
    .argument('<name>')
    .action(async (reference: string, name: string) => {
      const { root, runRoot } = globals();
      checkName(name);
      requireRoot();
      await cleanup(root, runRoot);
      const { old, record } = renameContainer(root, findContainer(root, reference).id, name);
      tell(root, [containerEvent(record, 'rename', { oldName: `/${old}` })]);
    });
}
