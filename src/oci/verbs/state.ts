/** tinyctr-oci state ID */
import type { Command } from 'commander';
import type { Globals } from '../globals.ts';
import { limitsHit } from '../hits.ts';
import { describe, findContainer } from '../state.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('state')
    .description('Print the state of a container as JSON.')
    .argument('<container-id>')
    .action((id: string) => {
      const found = findContainer(globals().root, id);
      const hit = limitsHit(found.state.cgroup);
      const state = { ...describe(found), ...(Object.keys(hit).length > 0 && { limitsHit: hit }) };
      process.stdout.write(`${JSON.stringify(state, null, 2)}\n`);
    });
}
