/** tinyctr run [options] IMAGE [command…] */
import { type Command, Option } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import type { RunOptions } from '../../engine/options.ts';
import { run } from '../../engine/run.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { ensureImage, layersFolder } from '../../image/store.ts';
import type { Globals } from '../globals.ts';
import { debugObserver } from '../observe.ts';
import { requireRoot } from '../require.ts';

const list = (value: string, previous: string[]): string[] => [...previous, value];

const flags = ['interactive', 'tty', 'rm', 'read-only', 'privileged', 'init'];

/** docker's options that this version refuses by name rather than as unknown. */
const notYet = [
  '-d, --detach',
  '-p, --publish <ports>',
  '-P, --publish-all',
  '--restart <policy>',
  '--pull <when>',
  '--platform <platform>',
  '--userns <mode>',
  '--cgroupns <mode>',
  '--cgroup-parent <path>',
  '--memory-swap <bytes>',
  '--memory-reservation <bytes>',
  '--cpu-quota <us>',
  '--cpu-period <us>',
  '--cpuset-cpus <list>',
  '--cpuset-mems <list>',
  '--blkio-weight <weight>',
  '--device-cgroup-rule <rule>',
  '--stop-timeout <seconds>',
  '--log-driver <driver>',
  '--log-opt <option>',
  '--detach-keys <keys>',
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
  '--isolation <kind>',
  '--mac-address <address>',
  '--ip <address>',
  '--volume-driver <name>',
];

/**
 * docker's --tty=false is commander's --no-tty. Only words before the image are options of ours.
 */
export function prepare(args: readonly string[], program: Command): string[] {
  const command = program.commands.find((c) => c.name() === 'run')!;
  const takesValue = (word: string) =>
    !word.includes('=') &&
    [...program.options, ...command.options].some((o) => (o.long === word || o.short === word) && o.required);
  const isDefined = (word: string) =>
    [...program.options, ...command.options].some((o) => o.long === word || o.short === word);
  const out: string[] = [];
  let words = 0;
  let complete = false;
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    // Options that are only refused, and --no-…, are defined when one may be there: commander takes 1.5 ms for them.
    if (words < 2 && !complete && word.startsWith('-') && !isDefined(word)) {
      addRefused(command);
      complete = true;
    }
    const set = /^--([a-z-]+)=(true|false|1|0)$/.exec(word);
    if (words < 2 && set && flags.includes(set[1]!))
      out.push(set[2] === 'true' || set[2] === '1' ? `--${set[1]}` : `--no-${set[1]}`);
    else out.push(word);
    if (takesValue(word) && words < 2) {
      if (i + 1 < args.length) out.push(args[++i]!);
    } else if (!word.startsWith('-') || word === '--') words++;
  }
  return out;
}

function addRefused(command: Command): void {
  for (const [list, reason] of [
    [notYet, 'is not there yet'],
    [never, 'is left out on purpose'],
  ] as const)
    for (const text of list) {
      const option = new Option(text).hideHelp();
      command.addOption(option);
      command.on(`option:${option.name()}`, () => {
        throw new UsageError(`--${option.name()} ${reason}`);
      });
    }
  for (const flag of flags) command.addOption(new Option(`--no-${flag}`).hideHelp());
}

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('run')
    .description('Make a container of an image and run a command in it.')
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions();
  command
    .option('-i, --interactive', 'pass standard input on')
    .option('-t, --tty', 'give the container a terminal')
    .option('--rm', 'remove the container when it has ended')
    .option('--name <name>', 'a name for the container')
    .option('-e, --env <name[=value]>', 'set an environment variable, or pass the caller’s on', list, [])
    .option('--env-file <file>', 'read environment variables from a file', list, [])
    .option('-v, --volume <src:dst[:options]>', 'bind mount a path of the host', list, [])
    .option('--mount <type=…,src=…,dst=…>', 'bind or tmpfs mount', list, [])
    .option('--tmpfs <dst[:options]>', 'mount a tmpfs', list, [])
    .option('-w, --workdir <path>', 'working directory in the container')
    .option('-u, --user <user[:group]>', 'names or ids, as the container knows them')
    .option('--group-add <group>', 'a further group', list, [])
    .option('-h, --hostname <name>', 'host name of the container')
    .option('--entrypoint <command>', 'replace the image’s entrypoint')
    .option('--read-only', 'mount the root filesystem read-only')
    .option('--network <mode>', 'none or host')
    .option('--ulimit <name=soft[:hard]>', 'resource limit', list, [])
    .option('--device <host[:container[:rwm]]>', 'give a device of the host', list, [])
    .option('--cap-add <capability>', 'add a capability', list, [])
    .option('--cap-drop <capability>', 'drop a capability', list, [])
    .option('--privileged', 'all capabilities and devices, no filter, nothing masked')
    .option('--security-opt <option>', 'no-new-privileges, seccomp=unconfined|FILE, systempaths=unconfined', list, [])
    .option('--init', 'put a small init in front that forwards signals and reaps')
    .option('--pid <mode>', 'host')
    .option('--ipc <mode>', 'host, private')
    .option('--uts <mode>', 'host')
    .option('--sysctl <name=value>', 'set a namespaced kernel parameter', list, [])
    .option('--shm-size <bytes>', 'size of /dev/shm')
    .option('--dns <ip>', 'name server', list, [])
    .option('--add-host <name:ip>', 'line for /etc/hosts', list, [])
    .option('-l, --label <key=value>', 'label of the container', list, [])
    .option('--cidfile <file>', 'write the container’s id to a file')
    .option('--stop-signal <signal>', 'signal that asks the container to stop')
    .option('-m, --memory <bytes>', 'memory limit')
    .option('--cpus <number>', 'how many CPUs’ time it may use')
    .option('-c, --cpu-shares <number>', 'weight against other containers')
    .option('--pids-limit <number>', 'how many processes it may have')
    .helpOption('--help', 'print this')
    .action(async (image: string, words: string[], options: RunOptions) => {
      const { root, runRoot, debug, logFormat } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const found = await ensureImage(root, image);
      process.exitCode = await run({
        root,
        runRoot,
        image: found,
        layersFolder: layersFolder(root),
        imageName: image,
        options,
        command: words,
        observer: debug ? await debugObserver({ root, runRoot, debug, logFormat }) : undefined,
      });
    });
}
