/** Options that create and run share. */
import { type Command, Option } from 'commander';
import { UsageError } from '../../engine/usage-error.ts';
import type { Globals } from '../globals.ts';

export interface CreateOptions {
  bundle: string;
  config?: string;
  pidFile?: string;
  consoleSocket?: string;
  pidfdSocket?: string;
  preserveFds: number;
  trace?: Trace;
}

/** '' and true are standard error. */
export type Trace = string | true | undefined;

export const traceOption = [
  '--trace [file]',
  'tell every system call: --trace=FILE into a file, --trace on standard error',
] as const;

/** With the one who watches, if --trace is there. */
export async function traced(globals: Globals, trace: Trace): Promise<Globals> {
  if (trace === undefined) return globals;
  const { startTrace } = await import('../../workshop/trace.ts');
  return { ...globals, watch: await startTrace(trace === true ? '' : trace) };
}

export function count(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new UsageError(`--preserve-fds is ${JSON.stringify(text)}; it must be a number`);
  return Number(text);
}

/** crun's. */
export const configOption = ['-f, --config <file>', 'another file in config.json’s place'] as const;

/** --no-new-keyring asks for what is the case anyway: the container keeps the caller's session keyring. */
export function addCreateOptions(command: Command): Command {
  command
    .argument('<container-id>')
    .option('-b, --bundle <folder>', 'the folder with config.json', '.')
    .option(...configOption)
    .option('--pid-file <file>', 'write the container’s pid to a file')
    .option('--console-socket <path>', 'a unix socket that gets the terminal')
    .option('--pidfd-socket <path>', 'a unix socket that gets a pidfd of the container’s process')
    .option('--preserve-fds <number>', 'hand on so many descriptors after 0, 1 and 2', count, 0)
    .option(...traceOption)
    .option('--no-new-keyring', 'make no session keyring: none is made in any case');
  refuse(command, '--no-pivot', 'is left out on purpose: pivot_root is the way to a root');
  return command;
}

/** An option of runc's that is refused by name. */
export function refuse(command: Command, flags: string, why = 'is not there yet'): void {
  const option = new Option(flags).hideHelp();
  command.addOption(option);
  command.on(`option:${option.name()}`, () => {
    throw new UsageError(`${option.long} ${why}`);
  });
}
