/** tinyctr version: this program's, and what it runs on. */
import { release } from 'node:os';
import { type Command, Option } from 'commander';
import type { Globals } from '../globals.ts';

export function define(program: Command, _globals: () => Globals): void {
  program
    .command('version')
    .description('Tell the versions of tinyctr and of what it runs on.')
    .addOption(new Option('--format <format>', 'of the output').choices(['text', 'json']).default('text'))
    .action(({ format }: { format: 'text' | 'json' }) => {
      const versions = {
        Version: program.version()!,
        Node: process.version,
        Os: process.platform,
        Arch: process.arch,
        KernelVersion: release(),
      };
      if (format === 'json') process.stdout.write(`${JSON.stringify(versions)}\n`);
      else for (const [name, value] of Object.entries(versions)) process.stdout.write(`${name}: ${value}\n`);
    });
}
