/** tinyctr exec CONTAINER COMMAND…: one more process in a container that runs. */
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { findContainer } from '../../engine/containers.ts';
import { DETACH_KEYS } from '../../engine/detach-keys.ts';
import { type ExecOptions, execIn } from '../../engine/exec.ts';
import { traceAlone } from '../../workshop/trace-option.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { debugObserver } from '../observe.ts';
import { requireRoot } from '../require.ts';

export function prepare(args: readonly string[], program: Command): string[] {
  return traceAlone(args, program.commands[0]);
}

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
    .option('--detach-keys <keys>', `what leaves it running, ${DETACH_KEYS} by default; with -i and -t`)
    .option('--trace [file]', 'tell every system call: --trace=FILE into a file, --trace on standard error')
    .action(async (reference: string, words: string[], given: Partial<ExecOptions> & { trace?: string }) => {
      const { root, runRoot, debug } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const { trace, ...options } = { env: [], envFile: [], ...given };
      const record = findContainer(root, reference);
      let observer = debug ? await debugObserver(globals()) : undefined;
      if (trace !== undefined) observer = await (await import('../../workshop/trace.ts')).startTrace(trace);
      const status = await execIn(root, runRoot, record, words, options, observer);
      if (status === undefined) {
        process.stderr.write('\r\nread escape sequence: the command goes on\r\n');
        process.exit(0); // somebody else has the terminal from now on
      }
      process.exitCode = status;
    });
}
