/** tinyctr explain [--format text|json|markdown] run [options] IMAGE [command…] */
import { type Command, Option } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { planRun } from '../../engine/plan.ts';
import { findImage, layersFolder } from '../../image/store.ts';
import { explainPlan } from '../../workshop/explain.ts';
import { type Format, formatExplanation, formats } from '../../workshop/explain-format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';
import { defineRun, prepare as prepareRun, refuseWatching } from './run.ts';

/** What follows `explain` and its options is a command line of run's. */
export function prepare(args: readonly string[], program: Command): string[] {
  const start = args.indexOf('run', args.indexOf('explain'));
  if (start < 0) return [...args];
  const command = program.commands.find((c) => c.name() === 'explain')!;
  return [...args.slice(0, start), ...prepareRun(args.slice(start), command)];
}

export function define(program: Command, globals: () => Globals): void {
  const command = program
    .command('explain')
    .description('Print what would be done, step by step and why, without doing anything.')
    .addOption(new Option('--format <format>', 'how it is printed').choices(formats).default('text'))
    .enablePositionalOptions();
  defineRun(command, async (name, words, options, wish) => {
    refuseWatching(wish, 'go with run: explain builds nothing');
    requireRoot();
    const { root, runRoot } = globals();
    const image = findImage(root, name);
    if (image === undefined)
      throw new ContainerError(`No such image: ${name}`, {
        hint: `explain fetches nothing: tinyctr pull ${name}, or for busybox run it once`,
      });
    const request = { root, runRoot, image, layersFolder: layersFolder(root), options, command: words };
    const { id, plan, interactive } = await planRun(request);
    const files = ['hosts', 'hostname', 'resolv.conf'].map((file) => `${runRoot}/${id}/${file}`);
    const { format } = command.opts<{ format: Format }>();
    process.stdout.write(
      formatExplanation(
        format,
        `tinyctr run ${[name, ...words].join(' ')}`,
        explainPlan(plan, { files, noStdin: !interactive }),
      ),
    );
  });
}
