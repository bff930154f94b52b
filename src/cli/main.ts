/** The command line of tinyctr: global options, and one file per verb, loaded only when it is asked for. */
import { resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { endOnClosedPipe, isClosedPipe, PIPE_CLOSED } from './closed-pipe.ts';
import { containerVerbs } from './container-verbs.ts';
import { printError } from './errors.ts';
import type { Globals } from './globals.ts';

interface VerbModule {
  define(program: Command, globals: () => Globals): void;
  /** Rewrites arguments that commander reads differently from docker. */
  prepare?(args: readonly string[], program: Command): string[];
  /** Ends the process, when nothing is pending; process.exit() does it for all others. */
  leave?(): void;
}

const verbs: Record<string, { summary: string; load: () => Promise<VerbModule> }> = {
  run: { summary: 'make a container of an image and run a command in it', load: () => import('./verbs/run.ts') },
  pull: { summary: 'fetch an image from a registry', load: () => import('./verbs/pull.ts') },
  ps: { summary: 'list containers', load: () => import('./verbs/ps.ts') },
  create: { summary: 'make a container that start will run', load: () => import('./verbs/create.ts') },
  start: { summary: 'run containers that were created, or have ended', load: () => import('./verbs/start.ts') },
  stop: { summary: 'ask containers to end', load: () => import('./verbs/stop.ts') },
  restart: { summary: 'stop containers and start them again', load: () => import('./verbs/restart.ts') },
  kill: { summary: 'send a signal to containers', load: () => import('./verbs/kill.ts') },
  wait: { summary: 'wait for the end of containers', load: () => import('./verbs/wait.ts') },
  logs: { summary: 'print what a container wrote', load: () => import('./verbs/logs.ts') },
  attach: { summary: 'show what a container writes, and give it input', load: () => import('./verbs/attach.ts') },
  pause: { summary: 'stop all processes of containers where they are', load: () => import('./verbs/pause.ts') },
  unpause: { summary: 'let them go on', load: () => import('./verbs/unpause.ts') },
  update: { summary: 'change limits and restart policies', load: () => import('./verbs/update.ts') },
  events: { summary: 'tell what happens, and has happened', load: () => import('./verbs/events.ts') },
  rename: { summary: 'give a container another name', load: () => import('./verbs/rename.ts') },
  top: { summary: 'show the processes of a container', load: () => import('./verbs/top.ts') },
  stats: { summary: 'show what containers use', load: () => import('./verbs/stats.ts') },
  version: { summary: 'versions of tinyctr and of what it runs on', load: () => import('./verbs/version.ts') },
  exec: { summary: 'run one more command in a container', load: () => import('./verbs/exec.ts') },
  info: { summary: 'this host, its containers, the supervisor', load: () => import('./verbs/info.ts') },
  rm: { summary: 'remove containers that have ended', load: () => import('./verbs/rm.ts') },
  import: {
    summary: 'make an image of a root filesystem: a tar file, a directory or standard input',
    load: () => import('./verbs/import.ts'),
  },
  load: {
    summary: 'load images from an archive of docker save, or an OCI layout',
    load: () => import('./verbs/load.ts'),
  },
  push: { summary: 'send an image to a registry', load: () => import('./verbs/push.ts') },
  save: { summary: 'save images to an archive or an OCI layout', load: () => import('./verbs/save.ts') },
  images: { summary: 'list images', load: () => import('./verbs/images.ts') },
  rmi: { summary: 'remove images', load: () => import('./verbs/rmi.ts') },
  tag: { summary: 'give an image one more name', load: () => import('./verbs/tag.ts') },
  history: { summary: 'show how an image came about', load: () => import('./verbs/history.ts') },
  container: { summary: 'the verbs of containers, and prune', load: () => import('./verbs/container.ts') },
  image: { summary: 'the verbs of images, and prune', load: () => import('./verbs/image.ts') },
  volume: { summary: 'folders that outlive containers', load: () => import('./verbs/volume.ts') },
  system: { summary: 'what takes room on the disk: df; and prune', load: () => import('./verbs/system.ts') },
  inspect: { summary: 'tell all about containers and images', load: () => import('./verbs/inspect.ts') },
  limit: { summary: 'run a command under limits, without a container', load: () => import('./verbs/limit.ts') },
  cgroup: { summary: 'draw cgroups with limit, use and pressure', load: () => import('./verbs/cgroup.ts') },
  login: { summary: 'keep a name and a password for a registry', load: () => import('./verbs/login.ts') },
  logout: { summary: 'forget them', load: () => import('./verbs/logout.ts') },
  explain: { summary: 'print what run would do, step by step and why', load: () => import('./verbs/explain.ts') },
  enter: { summary: 'a shell in a container that waits at a step', load: () => import('./verbs/enter.ts') },
  'inspect-step': {
    summary: 'tell all about a container that waits at a step',
    load: () => import('./verbs/inspect-step.ts'),
  },
  trace: { summary: 'show a trace that run --trace=FILE has written', load: () => import('./verbs/trace.ts') },
  compare: {
    summary: 'hold one configuration under two runtimes against each other',
    load: () => import('./verbs/compare.ts'),
  },
  doctor: { summary: 'tell what this host lacks, and how it is put right', load: () => import('./verbs/doctor.ts') },
  cleanup: { summary: 'remove what dead containers left', load: () => import('./verbs/cleanup.ts') },
};

const version = '0.1.0';

/** The supervisor has a working directory of its own. */
const absolute = (path: string): string => resolve(path);

function makeProgram(): Command {
  const program = new Command('tinyctr')
    .description('A minimal container runtime that shows every step.')
    .version(version)
    .addOption(
      new Option('--root <folder>', 'images and containers')
        .env('TINYCTR_ROOT')
        .default('/var/lib/tinyctr')
        .argParser(absolute),
    )
    .addOption(
      new Option('--run-root <folder>', 'state of running containers')
        .env('TINYCTR_RUN_ROOT')
        .default('/run/tinyctr')
        .argParser(absolute),
    )
    .option('--debug', 'log every step to standard error', false)
    .addOption(new Option('--log-format <format>', 'format of the log').choices(['text', 'json']).default('text'))
    .enablePositionalOptions()
    .exitOverride();
  return program;
}

/** Of the first word that is neither a global option nor its value; -1 where there is none. */
function placeOfVerb(args: readonly string[]): number {
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    if (!word.startsWith('-')) return i;
    if (['--root', '--run-root', '--log-format'].includes(word)) i++;
  }
  return -1;
}

/** `container stop …` as `stop …`. */
function ungrouped(args: string[]): string[] {
  const at = placeOfVerb(args);
  const word = args[at + 1] ?? '';
  if (args[at] !== 'container' || !Object.hasOwn(containerVerbs, word)) return args;
  return [...args.slice(0, at), containerVerbs[word]!, ...args.slice(at + 2)];
}

async function main(given: string[]): Promise<void> {
  const args = ungrouped(given);
  const program = makeProgram();
  const globals = () => program.opts<Globals>();
  const verb = verbs[args[placeOfVerb(args)] ?? ''];
  const module = await verb?.load();
  module?.define(program, globals);
  if (!module)
    for (const [name, { summary }] of Object.entries(verbs))
      program.command(name).summary(summary).description(summary);
  try {
    await program.parseAsync(module?.prepare?.(args, program) ?? args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 125;
    else if (isClosedPipe(error)) process.exitCode = PIPE_CLOSED;
    else process.exitCode = await printError(error, globals());
  }
  // Node would take itself apart for 2 ms more. What is still to be written, or waited for, it finishes as ever.
  if (process.getActiveResourcesInfo().length > 0) return;
  module?.leave?.();
  process.exit();
}

endOnClosedPipe();
void main(process.argv.slice(2));
