/** tinyctr exec CONTAINER COMMAND…: one more process in a container that runs. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { findContainer } from '../../engine/containers.ts';
import { type ExecOptions, execIn } from '../../engine/exec.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  program
    .command('exec')
    .description('Run one more command in a container that runs.')
    .argument('<container>', 'name, id or beginning of an id')
    .argument('<command...>')
    .passThroughOptions()
    .option('-i, --interactive', 'pass standard input on')
    .option('-t, --tty', 'give it a terminal')
    .option('-d, --detach', 'leave it running in the container')
    .option('-e, --env <name[=value]>', 'set an environment variable, or pass the caller’s on', list)
    .option('--env-file <file>', 'read environment variables from a file', list)
    .option('-w, --workdir <path>', 'working directory in the container')
    .option('-u, --user <user[:group]>', 'names or ids, as the container knows them')
    .option('--privileged', 'all capabilities, no seccomp filter')
    .action(async (reference: string, words: string[], given: Partial<ExecOptions>) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const options = { env: [], envFile: [], ...given };
      process.exitCode = await execIn(root, runRoot, findContainer(root, reference), words, options);
    });
}
