/** tinyctr-oci exec [options] ID COMMAND [ARG…], or exec --process FILE ID */
import type { Command } from 'commander';
import { prefixed } from '../../cli/errors.ts';
import { requireRoot } from '../../cli/require.ts';
import { type ExecRequest, execInContainer } from '../exec.ts';
import type { Globals } from '../globals.ts';
import { count, type Trace, traced, traceOption } from './options.ts';

/** As runc's: the command may have ended with any status, so a failure of exec itself is 255. */
const FAILED = 255;

const collect = (text: string, all: string[]) => [...all, text];

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('exec')
    .description('Execute a program in a container that is there.')
    .argument('<container-id>')
    .argument('[command...]', 'with its arguments; not with --process')
    .passThroughOptions()
    .option('-p, --process <file>', 'a process.json that says what to execute')
    .option('-t, --tty', 'give it a terminal')
    .option('--console-socket <path>', 'a unix socket that gets the terminal')
    .option('--pidfd-socket <path>', 'a unix socket that gets a pidfd of it')
    .option('-d, --detach', 'do not wait for its end')
    .option('--pid-file <file>', 'write its pid to a file')
    .option('-u, --user <uid[:gid]>', 'who it is')
    .option('-g, --additional-gids <gid>', 'one more group; may be repeated', collect, [])
    .option('-c, --cap <name>', 'one more capability; may be repeated', collect, [])
    .option('--cwd <path>', 'its working directory')
    .option('-e, --env <name=value>', 'one more variable; may be repeated', collect, [])
    .option('--no-new-privs', 'it can gain no privileges by an exec')
    .option('--preserve-fds <number>', 'hand on so many descriptors after 0, 1 and 2', count, 0)
    .option('--ignore-paused', 'of a paused container, wait until it is resumed')
    .option('--cgroup <path>', 'a cgroup below the container’s')
    .option('--apparmor <profile>', 'its AppArmor profile')
    .option('--process-label <label>', 'its SELinux label');
  command.option(...traceOption);
  command.action(async (id: string, args: string[], request: ExecRequest & { trace?: Trace }) => {
    try {
      requireRoot();
      process.exitCode = await execInContainer(await traced(globals(), request.trace), id, args, request);
    } catch (error) {
      process.exitCode = FAILED;
      throw prefixed('exec failed: ', error);
    }
  });
}
