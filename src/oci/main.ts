/** The command line of tinyctr-oci, runc's: global options, and one file per verb, loaded only when it is asked for. */
import { resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { endOnClosedPipe, isClosedPipe, PIPE_CLOSED } from '../cli/closed-pipe.ts';
import { ContainerError } from '../core/kernel/error.ts';
import { UsageError } from '../engine/usage-error.ts';
import { traceAlone } from '../workshop/trace-option.ts';
import { type Globals, specVersion, version } from './globals.ts';
import { openLog, printError } from './log.ts';

interface VerbModule {
  define(program: Command, globals: () => Globals): void;
}

const verbs: Record<string, { summary: string; load: () => Promise<VerbModule> }> = {
  run: { summary: 'create a container and start it, and wait for its end', load: () => import('./verbs/run.ts') },
  create: { summary: 'create a container that waits for its start', load: () => import('./verbs/create.ts') },
  start: { summary: 'start a created container', load: () => import('./verbs/start.ts') },
  state: { summary: 'print the state of a container', load: () => import('./verbs/state.ts') },
  kill: { summary: 'send a signal to a container', load: () => import('./verbs/kill.ts') },
  delete: { summary: 'delete what a stopped container holds', load: () => import('./verbs/delete.ts') },
  list: { summary: 'list containers', load: () => import('./verbs/list.ts') },
  exec: { summary: 'execute a program in a container that is there', load: () => import('./verbs/exec.ts') },
  ps: { summary: 'list the processes of a container', load: () => import('./verbs/ps.ts') },
  pause: { summary: 'stop all processes of a container', load: () => import('./verbs/pause.ts') },
  resume: { summary: 'let the processes of a paused container go on', load: () => import('./verbs/resume.ts') },
  update: { summary: 'change the limits of a container', load: () => import('./verbs/update.ts') },
  events: { summary: 'print what a container uses, until it ends', load: () => import('./verbs/events.ts') },
  features: { summary: 'print what this runtime can do', load: () => import('./verbs/features.ts') },
  explain: { summary: 'print what run would do, step by step and why', load: () => import('./verbs/explain.ts') },
  spec: { summary: 'write a config.json to begin with', load: () => import('./verbs/spec.ts') },
};

/** Verbs of runc that are refused by name. */
const later = ['checkpoint', 'restore'];
/** Global options of runc and crun that are refused by name. */
const refused = ['--systemd-cgroup', '--rootless <when>', '--criu <path>'];

function makeProgram(): Command {
  const program: Command = new Command('tinyctr-oci');
  program
    .description('An OCI runtime, called like runc.')
    .version(`tinyctr-oci version ${version}\nspec: ${specVersion}`, '-v, --version')
    .option('--root <folder>', 'state of containers', '/run/tinyctr-oci')
    .option('--log <file>', 'append errors and warnings to a file', logFile)
    .addOption(new Option('--log-format <format>', 'format of the log').choices(['text', 'json']).default('text'))
    .option('--debug', 'log every system call', false)
    .option('--strict', 'refuse unknown fields of config.json and process.json', false)
    .hook('preAction', () => openLog(globalsOf(program)))
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: () => undefined }); // printError does it, in the format that was asked for
  for (const flags of refused) {
    const option = new Option(flags).hideHelp();
    program.addOption(option);
    program.on(`option:${option.name()}`, () => {
      throw new UsageError(`--${option.name()} is not there yet`);
    });
  }
  program.addOption(new Option('--cgroup-manager <name>').hideHelp());
  program.on('option:cgroup-manager', checkCgroupManager);
  return program;
}

/** crun's clients name the kind of log in front of it. */
function logFile(text: string): string {
  const [, kind, place] = /^(file|syslog|journald):(.*)$/s.exec(text) ?? [];
  if (kind === undefined) return text;
  if (kind !== 'file') throw new UsageError(`--log ${kind}: is not there yet; there is file:`);
  return place!;
}

/** crun's option. podman gives it for `--cgroups=disabled`, if its configuration says that the runtime can. */
function checkCgroupManager(name: string): void {
  if (name === 'disabled')
    throw new UsageError(
      '--cgroup-manager disabled is left out on purpose: by its cgroup a container is limited, paused and killed whole',
    );
  if (name !== 'cgroupfs') throw new UsageError(`--cgroup-manager ${name} is not there yet; there is cgroupfs`);
}

/** The first word that is neither a global option nor its value. */
function verbOf(args: readonly string[]): string | undefined {
  const withValue = ['--root', '--log', '--log-format', '--rootless', '--criu', '--cgroup-manager'];
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    if (!word.startsWith('-')) return word;
    if (withValue.includes(word)) i++;
  }
  return undefined;
}

/** `help VERB` as `VERB --help`: each verb's options are in its own file. */
function withoutHelp(args: readonly string[]): readonly string[] {
  const at = args.indexOf(verbOf(args) ?? '');
  const [first, verb] = args.slice(at);
  if (at < 0 || (first !== 'help' && first !== 'h')) return args;
  return [...args.slice(0, at), ...(verb === undefined ? [] : [verb]), '--help'];
}

/** Also after an error on the command line, where commander has read only what stood before it. */
function globalsOf(program: Command): Globals {
  const globals = program.opts<Globals>();
  return { ...globals, root: resolve(globals.root) };
}

async function main(given: string[]): Promise<void> {
  const args = withoutHelp(given);
  const program = makeProgram();
  const globals = () => globalsOf(program);
  const verb = verbOf(args) ?? '';
  try {
    if (later.includes(verb)) {
      program
        .command(verb)
        .allowUnknownOption()
        .helpOption(false)
        .argument('[words...]')
        .action(() => {
          throw new ContainerError(`${verb} is not there yet`);
        });
    } else if (Object.hasOwn(verbs, verb)) (await verbs[verb]!.load()).define(program, globals);
    else {
      if (verb !== '' && given.some((word) => ['-h', '--help'].includes(word)))
        throw new UsageError(`No help topic for '${verb}'`);
      for (const [name, { summary }] of Object.entries(verbs)) program.command(name).summary(summary);
    }
    await program.parseAsync(traceAlone(args, program.commands[0]), { from: 'user' });
  } catch (error) {
    process.exitCode ||= 1;
    if (isClosedPipe(error)) process.exitCode = PIPE_CLOSED;
    else if (!(error instanceof CommanderError)) printError(error, globals());
    else if (error.exitCode === 0) process.exitCode = 0;
    else if (error.code !== 'commander.help')
      printError(new UsageError(error.message.replace(/^error: /, '')), globals());
  }
}

endOnClosedPipe();
void main(process.argv.slice(2));
