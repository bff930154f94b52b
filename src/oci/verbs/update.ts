/** tinyctr-oci update [--memory … --cpu-quota … | --resources FILE] ID */
import type { Command } from 'commander';
import type { Resources } from '../../core/spec/types.ts';
import { parseSize } from '../../engine/sizes.ts';
import { UsageError } from '../../engine/usage-error.ts';
import type { Globals } from '../globals.ts';
import { warn } from '../log.ts';
import { checkResources, readResources, updateContainer } from '../update.ts';
import { refuse } from './options.ts';

type Read = (option: string, text: string) => number | string;
const bytes: Read = (option, text) => (text === '-1' ? -1 : parseSize(option, text));
const whole: Read = (option, text) => {
  if (/^-?\d{1,19}$/.test(text)) return Number(text);
  throw new UsageError(`${option} '${text}' is not a whole number`);
};
const text: Read = (_option, value) => value;

/** What each sets in linux.resources. Those that only cgroup v1 had come to be refused with the reason. */
const options: [name: string, value: string, at: [string, string], read: Read, summary: string][] = [
  ['memory', 'bytes', ['memory', 'limit'], bytes, 'limit of memory'],
  ['memory-reservation', 'bytes', ['memory', 'reservation'], bytes, 'memory that is not taken from it for others'],
  ['memory-swap', 'bytes', ['memory', 'swap'], bytes, 'limit of memory and swap together; -1: none'],
  ['cpu-period', 'microseconds', ['cpu', 'period'], whole, 'period that the quota is of'],
  ['cpu-quota', 'microseconds', ['cpu', 'quota'], whole, 'processor time in each period; -1: no limit'],
  ['cpu-burst', 'microseconds', ['cpu', 'burst'], whole, 'unused quota that may be saved up'],
  ['cpu-share', 'number', ['cpu', 'shares'], whole, 'weight among containers; the default is 1024'],
  ['cpu-idle', 'number', ['cpu', 'idle'], whole, '1: runs only when nothing else wants to'],
  ['cpuset-cpus', 'list', ['cpu', 'cpus'], text, 'processors, such as 0-3,7'],
  ['cpuset-mems', 'list', ['cpu', 'mems'], text, 'memory nodes'],
  ['pids-limit', 'number', ['pids', 'limit'], whole, 'limit of processes; -1: none'],
  ['blkio-weight', 'number', ['blockIO', 'weight'], whole, 'weight at block devices, 10 to 1000'],
  ['kernel-memory', 'bytes', ['memory', 'kernel'], bytes, ''],
  ['kernel-memory-tcp', 'bytes', ['memory', 'kernelTCP'], bytes, ''],
  ['cpu-rt-period', 'microseconds', ['cpu', 'realtimePeriod'], whole, ''],
  ['cpu-rt-runtime', 'microseconds', ['cpu', 'realtimeRuntime'], whole, ''],
];

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('update')
    .description('Change the limits of a container that lives: all that are given, or none.')
    .argument('<container-id>')
    .option('-r, --resources <file>', 'linux.resources as JSON; - is standard input; other options are ignored then');
  for (const [name, value, , , summary] of options) {
    const option = command.createOption(`--${name} <${value}>`, summary);
    command.addOption(summary ? option : option.hideHelp());
  }
  refuse(command, '--l3-cache-schema <text>');
  refuse(command, '--mem-bw-schema <text>');
  command.action((id: string, given: Record<string, string>) => {
    const tell = (message: string) => warn(globals(), message);
    const resources = given.resources === undefined ? fromOptions(command) : readResources(given.resources, tell);
    updateContainer(globals().root, id, resources);
  });
}

function fromOptions(command: Command): Resources {
  const resources: Record<string, Record<string, number | string>> = {};
  for (const option of command.options) {
    const known = options.find(([name]) => option.long === `--${name}`);
    const value = command.getOptionValue(option.attributeName()) as string | undefined;
    if (!known || value === undefined || value === '') continue;
    const [name, , [group, field], read] = known;
    resources[group] = { ...resources[group], [field]: read(`--${name}`, value) };
  }
  if (Object.keys(resources).length === 0)
    throw new UsageError('nothing to change: give --memory, --pids-limit and so on');
  return checkResources(resources, 'update', () => undefined);
}
