/** tinyctr-oci explain [--format text|json|markdown] [--bundle FOLDER] [run | create | exec COMMAND [ARG…]] */
import { type Command, Option } from 'commander';
import { UsageError } from '../../engine/usage-error.ts';
import { type Format, formatExplanation, formats } from '../../workshop/explain-format.ts';
import { explainBundle, explainExecIn } from '../explain.ts';
import type { Globals } from '../globals.ts';
import { reporter } from '../log.ts';
import { configOption, count } from './options.ts';

interface Options {
  bundle: string;
  config?: string;
  format: Format;
  preserveFds: number;
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('explain')
    .description('Print what would be done with a bundle, step by step and why, without doing anything.')
    .argument('[verb]', 'run, create or exec', 'run')
    .argument('[command...]', 'of exec, with its arguments')
    .passThroughOptions()
    .option('-b, --bundle <folder>', 'the folder with config.json', '.')
    .option(...configOption)
    .option('--preserve-fds <number>', 'hand on so many descriptors after 0, 1 and 2', count, 0)
    .addOption(new Option('--format <format>', 'how it is printed').choices(formats).default('text'))
    .action((verb: string, words: string[], { format, preserveFds, ...request }: Options) => {
      const report = reporter(globals());
      if (verb === 'exec' && words.length === 0) throw new UsageError('exec wants a command to explain');
      if (verb !== 'exec' && words.length > 0) throw new UsageError(`${verb} takes its command from config.json`);
      if (!['run', 'create', 'exec'].includes(verb))
        throw new UsageError(`explain knows run, create and exec, not ${JSON.stringify(verb)}`);
      const created = verb === 'create';
      const notes: string[] = [];
      const note = (text: string) => notes.push(text);
      const steps =
        verb === 'exec'
          ? explainExecIn(request, words, report, note)
          : explainBundle(request, report, { created, preserved: preserveFds, note });
      const title = [`tinyctr-oci ${verb} --bundle ${request.bundle}`, ...words].join(' ');
      process.stdout.write(formatExplanation(format, title, steps, notes));
    });
}
