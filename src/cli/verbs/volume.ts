/** tinyctr volume create, ls, inspect, rm, prune: folders that outlive containers. */
import { type Command, Option } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { cleanup } from '../../engine/cleanup.ts';
import { parseLabel } from '../../engine/identity.ts';
import { pruneEvent, tell, volumeEvent } from '../../engine/journal.ts';
import { UsageError } from '../../engine/usage-error.ts';
import { listFilter, pruneFilter, type UsedVolume, type VolumeFilter } from '../../engine/volume-filter.ts';
import { checkVolumeName } from '../../engine/volume-mount.ts';
import { pruneVolumes } from '../../engine/volume-prune.ts';
import { listVolumes, readVolume, type Volume, volumeUsers } from '../../engine/volume-store.ts';
import { createVolume, noSuchVolume, removeDeadVolumes, removeVolume } from '../../engine/volumes.ts';
import { formatColumns, humanSize } from '../../image/present.ts';
import { confirmed } from '../confirm.ts';
import { printError } from '../errors.ts';
import { checkFormat, formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { list } from '../limit-options.ts';
import { requireRoot } from '../require.ts';

export function define(program: Command, globals: () => Globals): void {
  const volume = program.command('volume').description('Volumes: folders that outlive containers.');
  defineCreate(volume, globals);
  defineList(volume, globals);
  defineInspect(volume, globals);
  defineRemove(volume, globals);
  definePrune(volume, globals);
}

function defineCreate(volume: Command, globals: () => Globals): void {
  volume
    .command('create')
    .description('Make a volume, and print its name; one that is there stays as it is.')
    .argument('[name]', 'without one, 64 hex digits are made up')
    .option('--label <key=value>', 'label of the volume', list)
    .option('-d, --driver <name>', 'local is the only one', 'local')
    .addOption(new Option('-o, --opt <option>').argParser(refuseOptions).hideHelp())
    .action((name: string | undefined, { label = [], driver }: { label?: string[]; driver: string }) => {
      if (driver !== 'local')
        throw new UsageError(`--driver '${driver}': there are no drivers but local, which is a folder below --root`);
      const labels = Object.fromEntries(label.map(parseLabel));
      requireRoot();
      const checked = name === undefined ? undefined : checkVolumeName('volume create', name);
      const made = createVolume(globals().root, checked, labels);
      tell(globals().root, [volumeEvent('create', made)]);
      process.stdout.write(`${made}\n`);
    });
}

function refuseOptions(): never {
  throw new UsageError('--opt is refused: options are for drivers, and a volume is a folder below --root');
}

interface ListOptions {
  quiet?: true;
  filter?: string[];
  format: 'table' | 'json';
}

function defineList(volume: Command, globals: () => Globals): void {
  volume
    .command('ls')
    .alias('list')
    .description('List volumes.')
    .option('-q, --quiet', 'names only')
    .option('-f, --filter <name=value>', 'name, label, dangling or driver', list)
    .addOption(formatOption('tinyctr volume ls', 'lines'))
    .action(async ({ quiet, filter = [], format }: ListOptions) => {
      const keeps = listFilter(filter);
      requireRoot();
      const shown = (await usedVolumes(globals())).filter(keeps);
      if (quiet) process.stdout.write(shown.map(({ name }) => `${name}\n`).join(''));
      else if (format === 'json') process.stdout.write(shown.map((one) => `${JSON.stringify(row(one))}\n`).join(''));
      else
        process.stdout.write(formatColumns([['DRIVER', 'VOLUME NAME'], ...shown.map(({ name }) => ['local', name])]));
    });
}

async function usedVolumes({ root, runRoot }: Globals): Promise<UsedVolume[]> {
  await cleanup(root, runRoot);
  removeDeadVolumes(root);
  const users = volumeUsers(root);
  return listVolumes(root).map((volume) => ({ ...volume, users: users.get(volume.name) ?? [] }));
}

/** docker's keys; what it has for drivers and clusters says so. */
function row({ name, labels, mountpoint }: Volume): Record<string, string> {
  const nothing = 'N/A';
  return {
    Availability: nothing,
    Driver: 'local',
    Group: nothing,
    Labels: Object.entries(labels ?? {})
      .map((pair) => pair.join('='))
      .join(','),
    Links: nothing,
    Mountpoint: mountpoint,
    Name: name,
    Scope: 'local',
    Size: nothing,
    Status: nothing,
  };
}

function defineInspect(volume: Command, globals: () => Globals): void {
  volume
    .command('inspect')
    .description('Show all about volumes as JSON.')
    .argument('<name...>')
    .option('-f, --format <format>', 'json; for a single value there is jq')
    .action(async (names: string[], { format }: { format?: string }) => {
      if (format !== undefined) checkFormat(format, ['json'], `tinyctr volume inspect ${names[0]}`, 'array');
      requireRoot();
      const { root } = globals();
      const found = names.map((name) => readVolume(root, name));
      const there = found.filter((one) => one !== undefined);
      process.stdout.write(`${JSON.stringify(there.map(inspected), null, format === 'json' ? 0 : 4)}\n`);
      const missing = names.filter((_, i) => found[i] === undefined);
      if (missing.length > 0)
        throw new ContainerError(missing.map((name) => noSuchVolume(name).message).join('\n'), { exitCode: 1 });
    });
}

function inspected({ name, created, labels, mountpoint }: Volume): Record<string, unknown> {
  return {
    CreatedAt: created.replace(/\.\d+Z$/, 'Z'), // as precise as docker's
    Driver: 'local',
    Labels: labels,
    Mountpoint: mountpoint,
    Name: name,
    Options: null,
    Scope: 'local',
  };
}

function defineRemove(volume: Command, globals: () => Globals): void {
  volume
    .command('rm')
    .alias('remove')
    .description('Remove volumes that no container has, and all that is in them.')
    .argument('<name...>')
    .option('-f, --force', 'one that is not there is no error')
    .action(async (names: string[], { force = false }: { force?: boolean }) => {
      requireRoot();
      const { root, runRoot } = globals();
      await cleanup(root, runRoot);
      removeDeadVolumes(root);
      for (const name of names)
        try {
          if (!force || readVolume(root, name)) {
            removeVolume(root, name);
            tell(root, [volumeEvent('destroy', name)]);
          }
          process.stdout.write(`${name}\n`);
        } catch (error) {
          await printError(error, globals());
          process.exitCode = 1;
        }
    });
}

function definePrune(volume: Command, globals: () => Globals): void {
  volume
    .command('prune')
    .description('Remove anonymous volumes that no container has.')
    .option('-a, --all', 'also those with a name')
    .option('-f, --force', "don't ask")
    .option('--filter <filter>', 'label=KEY[=VALUE] or label!=KEY[=VALUE]', list)
    .action(async ({ all = false, force, filter = [] }: { all?: boolean; force?: boolean; filter?: string[] }) => {
      const keeps = pruneFilter(filter);
      requireRoot();
      const what = `${all ? '' : 'anonymous '}local volumes not used by at least one container`;
      if (!force && !(await confirmed(what))) return;
      const { root, runRoot } = globals();
      await cleanup(root, runRoot);
      const { text, bytes } = prunedVolumes(root, all, keeps);
      process.stdout.write(`${text}Total reclaimed space: ${humanSize(bytes)}\n`);
    });
}

/** What is gone, as docker lists it, and what that gave back. */
export function prunedVolumes(root: string, all: boolean, keeps?: VolumeFilter): { text: string; bytes: number } {
  const { deleted, reclaimed } = pruneVolumes(root, all, keeps);
  tell(root, [...deleted.map((name) => volumeEvent('destroy', name)), pruneEvent('volume', reclaimed)]);
  return { text: deleted.length > 0 ? `Deleted Volumes:\n${deleted.join('\n')}\n\n` : '', bytes: reclaimed };
}
