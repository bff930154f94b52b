/** tinyctr-oci kill [--all] ID [SIGNAL] */
import type { Command } from 'commander';
import type { Globals } from '../globals.ts';
import { killContainer, parseSignal } from '../kill.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('kill')
    .description('Send a signal to the process of a container.')
    .argument('<container-id>')
    .argument('[signal]', 'a number or a name', 'SIGTERM')
    .option('-a, --all', 'to all processes of the container')
    .action((id: string, signal: string, options: { all?: boolean }) => {
      killContainer(globals().root, id, parseSignal(signal), options.all ?? false);
    });
}
