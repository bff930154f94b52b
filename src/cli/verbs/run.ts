/** tinyctr run [options] IMAGE [command…] */
import { type Command, Option } from 'commander';
import { rawSyscall } from '../../core/host/syscall.ts';
import * as k from '../../core/kernel/constants.ts';
import { cleanup } from '../../engine/cleanup.ts';
import type { Hit } from '../../engine/hits.ts';
import type { Rung } from '../../engine/isolation.ts';
import type { RunOptions } from '../../engine/options.ts';
import { run } from '../../engine/run.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { ensureImage, layersFolder } from '../../image/store.ts';
import type { Globals } from '../globals.ts';
import { addRow, limitOptions, list, namesOf, type OptionRow, refuse, refusedLimits } from '../limit-options.ts';
import { debugObserver } from '../observe.ts';
import { requireRoot } from '../require.ts';

const options: readonly OptionRow[] = [
  ['-i, --interactive', 'pass standard input on'],
  ['-t, --tty', 'give the container a terminal'],
  ['--rm', 'remove the container when it has ended'],
  ['--name <name>', 'a name for the container'],
  ['-e, --env <name[=value]>', 'set an environment variable, or pass the caller’s on', list],
  ['--env-file <file>', 'read environment variables from a file', list],
  ['-v, --volume <[src:]dst[:options]>', 'mount a path of the host, or a volume by its name', list],
  ['--mount <type=…,src=…,dst=…>', 'volume, bind or tmpfs', list],
  ['--tmpfs <dst[:options]>', 'mount a tmpfs', list],
  ['-w, --workdir <path>', 'working directory in the container'],
  ['-u, --user <user[:group]>', 'names or ids, as the container knows them'],
  ['--group-add <group>', 'a further group', list],
  ['-h, --hostname <name>', 'host name of the container'],
  ['--entrypoint <command>', 'replace the image’s entrypoint'],
  ['--read-only', 'mount the root filesystem read-only'],
  ['--network <mode>', 'none or host'],
  ['--ulimit <name=soft[:hard]>', 'resource limit', list],
  ['--device <host[:container[:rwm]]>', 'give a device of the host', list],
  ['--cap-add <capability>', 'add a capability', list],
  ['--cap-drop <capability>', 'drop a capability', list],
  ['--privileged', 'all capabilities and devices, no filter, nothing masked'],
  ['--security-opt <option>', 'no-new-privileges, seccomp=unconfined|FILE, systempaths=unconfined', list],
  ['--pull <when>', 'ask a registry for the image: missing (default), always or never'],
  ['--platform <os/arch[/variant]>', 'the image for this platform'],
  ['-q, --quiet', 'tell nothing of a pull'],
  ['--trace [file]', 'tell every system call: --trace=FILE into a file, --trace on standard error'],
  ['--step', 'stop before each step of the construction, and ask at the terminal'],
  ['--pause-before <call>', 'stop before each such system call: pivot_root, mount, …', list],
  ['--pause-after <call>', 'stop after it', list],
  ['--freeze', 'when a step fails, keep the half-built container until Enter or end of input'],
  ['--init', 'put a small init in front that forwards signals and reaps'],
  ['--pid <mode>', 'host'],
  ['--ipc <mode>', 'host, private'],
  ['--uts <mode>', 'host'],
  ['--userns <mode>', 'auto, keep-id or host (default): who root in the container is outside'],
  ['--sysctl <name=value>', 'set a namespaced kernel parameter', list],
  ['--shm-size <bytes>', 'size of /dev/shm'],
  ['--dns <ip>', 'name server', list],
  ['--add-host <name:ip>', 'line for /etc/hosts', list],
  ['-l, --label <key=value>', 'label of the container', list],
  ['--cidfile <file>', 'write the container’s id to a file'],
  ['--stop-signal <signal>', 'signal that asks the container to stop'],
  ['--cgroupns <mode>', 'host, private'],
  ['-d, --detach', 'let it run in the background, and print its id'],
  ['--restart <policy>', 'no (default), on-failure[:n], always or unless-stopped'],
  ['--stop-timeout <seconds>', 'how long stop waits before it kills, 10 by default'],
  ['--log-driver <driver>', 'json-file (default) or none'],
  ['--log-opt <name=value>', 'max-size=BYTES, max-file=NUMBER', list],
  ['--isolation <rung>', 'chroot, namespaces or container: fewer walls, to see what each is good for'],
  ...limitOptions,
];

const flags = ['detach', 'interactive', 'tty', 'rm', 'read-only', 'privileged', 'quiet', 'init'];

/** Options that say nothing of the container: which image, and who watches. */
export interface OtherOptions {
  pull?: string | undefined;
  platform?: string | undefined;
  quiet?: boolean | undefined;
  /** '' is standard error. */
  trace?: string | undefined;
  step?: boolean | undefined;
  pauseBefore?: string[] | undefined;
  pauseAfter?: string[] | undefined;
  freeze?: boolean | undefined;
}

const repeated = [
  'env',
  'envFile',
  'volume',
  'mount',
  'tmpfs',
  'groupAdd',
  'ulimit',
  'device',
  'capAdd',
  'capDrop',
  'securityOpt',
  'sysctl',
  'dns',
  'addHost',
  'label',
] as const;

/** docker's options that this version refuses by name rather than as unknown. */
const notYet = [
  '-p, --publish <ports>',
  '-P, --publish-all',
  '--annotation <key=value>',
  '--volumes-from <container>',
  '--label-file <file>',
  '--oom-score-adj <score>',
];

/** docker's options that are left out on purpose. */
const never = [
  '--gpus <what>',
  '--link <container>',
  '--storage-opt <option>',
  '--mac-address <address>',
  '--ip <address>',
  '--volume-driver <name>',
];

/**
 * docker's --tty=false is commander's --no-tty. Only words before the image are options of ours. Each is defined when it
 * is met, all of them when it is none we know (--help, -it, one that is refused): defining all takes commander 4 ms.
 */
export function prepare(args: readonly string[], program: Command): string[] {
  const command = program.commands.find((c) => ['run', 'create'].includes(c.name()))!;
  const defined = (name: string) =>
    [...program.options, ...command.options].find((o) => o.long === name || o.short === name);
  const out: string[] = [];
  let words = 0;
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    const name = word.split('=')[0]!;
    const option = words < 2 && word.startsWith('-') && word !== '--' && word !== '-';
    if (option && !defined(name)) defineOption(command, name);
    const set = option && word.includes('=') ? /^--([a-z-]+)=(true|false|1|0)$/.exec(word) : null;
    if (set && flags.includes(set[1]!)) {
      defineAll(command);
      out.push(set[2] === 'true' || set[2] === '1' ? `--${set[1]}` : `--no-${set[1]}`);
    } else out.push(option && word === '--trace' ? '--trace=' : word); // the next word is not its value
    if (option && defined(word)?.required) {
      if (i + 1 < args.length) out.push(args[++i]!);
    } else if (!option) words++;
  }
  return out;
}

function defineOption(command: Command, name: string): void {
  const row = options.find((candidate) => namesOf(candidate).includes(name));
  if (row) addRow(command, row);
  else defineAll(command);
}

function defineAll(command: Command): void {
  const has = (name: string) => command.options.some((o) => o.long === name);
  if (has('--no-tty')) return;
  for (const row of options) if (!has(namesOf(row).at(-1)!)) addRow(command, row);
  addRefused(command);
}

function addRefused(command: Command): void {
  for (const text of notYet) refuse(command, text, 'is not there yet');
  refuse(
    command,
    '--detach-keys <keys>',
    'can’t be had here, a container in the foreground ends with its command: tinyctr run -d -it, then tinyctr attach',
  );
  for (const text of never) refuse(command, text, 'is left out on purpose');
  for (const [text, reason] of refusedLimits) refuse(command, text, reason);
  for (const flag of flags) command.addOption(new Option(`--no-${flag}`).hideHelp());
}

const stops = ({ step, pauseBefore, pauseAfter, freeze }: OtherOptions): boolean =>
  Boolean(step || pauseBefore || pauseAfter || freeze);

/** @throws UsageError where there is no construction that this command could watch. */
export function refuseWatching(wish: OtherOptions, why: string): void {
  if (stops(wish) || wish.trace !== undefined)
    throw new UsageError(`--trace, --step, --pause-before, --pause-after and --freeze ${why}`);
}

/** Options that may be repeated are lists, also where nobody gave one. */
function noneGiven(): Pick<RunOptions, (typeof repeated)[number]> {
  return Object.fromEntries(repeated.map((name) => [name, []])) as unknown as Pick<
    RunOptions,
    (typeof repeated)[number]
  >;
}

/** `run`, or another verb with its options, below `parent`; `prepare` must have seen the words. */
export function defineRun(
  parent: Command,
  act: (image: string, words: string[], options: RunOptions, wish: OtherOptions) => Promise<void>,
  [name, description]: readonly [string, string] = ['run', 'Make a container of an image and run a command in it.'],
): void {
  parent
    .command(name)
    .description(description)
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .helpOption('--help', 'print this')
    .action(async (image: string, words: string[], given: Partial<RunOptions> & OtherOptions) => {
      const { pull, platform, quiet, trace, step, pauseBefore, pauseAfter, freeze, ...rest } = given;
      const watching = { trace, step, pauseBefore, pauseAfter, freeze };
      await act(image, words, { ...noneGiven(), ...rest }, { pull, platform, quiet, ...watching });
    });
}

let hasRun = false;

export function define(program: Command, globals: () => Globals): void {
  defineRun(program, async (image, words, options, wish) => {
    if (options.detach) refuseWatching(wish, 'are for a container in the foreground: not with -d');
    const request = await requestOf(globals(), image, words, options, wish);
    if (request === undefined) return;
    if (options.detach) {
      const { runDetached } = await import('../detached.ts');
      process.stdout.write(`${await runDetached(request)}\n`);
      return;
    }
    let observer = globals().debug ? await debugObserver(globals()) : undefined;
    if (wish.trace !== undefined) observer = await (await import('../../workshop/trace.ts')).startTrace(wish.trace);
    const watch = stops(wish) ? (await import('../step.ts')).stepper(wish, globals(), observer) : undefined;
    const rung = options.isolation as Rung | undefined;
    process.exitCode = await run({
      ...request,
      observer,
      watch,
      ...(rung && { before: async () => (await import('../isolation.ts')).printRung(rung, globals()) }),
      tell: async (hits: readonly Hit[]) => (await import('../hits.ts')).printHits(hits, globals()),
    });
    hasRun = true;
  });
}

/**
 * At once: Node would spend half a millisecond on taking itself apart. Not where that is wanted: by who listens for the end, by a profile, and for
 * a pipe of the caller's that Node has made non-blocking, which it takes back.
 */
export function leave(): void {
  if (!hasRun) return; // an error, or -d: the shim may not be there
  const { NODE_OPTIONS, NODE_V8_COVERAGE } = process.env;
  const watched = NODE_OPTIONS ?? NODE_V8_COVERAGE ?? process.execArgv.find((flag) => /prof|inspect/.test(flag));
  const changed = [0, 1, 2].some((fd) => rawSyscall('fcntl', fd, k.F_GETFL) & k.O_NONBLOCK);
  if (watched || changed || process.listenerCount('exit') > 0) return;
  rawSyscall('exit_group', Number(process.exitCode ?? 0));
}

/** Cleans up lightly, and fetches the image where it is not there; undefined if that was interrupted. */
export async function requestOf(
  globals: Globals,
  image: string,
  command: string[],
  options: RunOptions,
  { pull, platform, quiet = false }: OtherOptions,
) {
  const { root, runRoot } = globals;
  requireRoot();
  process.umask(0o022); // what a container finds is to be readable for its users, whoever calls
  await cleanup(root, runRoot);
  const found = await ensureImage(root, image, { pull, platform }, async (name) => {
    const { fetchImage } = await import('../fetch-image.ts');
    return await fetchImage(globals, name, platform, quiet);
  });
  return found && { root, runRoot, image: found, layersFolder: layersFolder(root), imageName: image, options, command };
}
