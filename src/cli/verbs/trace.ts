/** tinyctr trace show [--format table|json] FILE */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { formatTrace } from '../../workshop/trace-format.ts';
import { readTrace } from '../../workshop/trace-read.ts';

export function define(program: Command): void {
  program
    .command('trace')
    .description('Show what --trace=FILE has written.')
    .command('show')
    .description('Print a trace in words: as a table, or each call as a line of JSON.')
    .addOption(new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'))
    .argument('<file>', 'of --trace=FILE')
    .action((file: string, { format }: { format: 'table' | 'json' }) => {
      const { lines, cut } = read(file);
      process.stdout.write(
        format === 'table' ? formatTrace(lines) : lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
      );
      if (cut)
        process.stderr.write(
          `tinyctr: warning: the last record of ${file} is cut off: the disk was full, or tinyctr was killed\n`,
        );
    });
}

function read(file: string): ReturnType<typeof readTrace> {
  try {
    return readTrace(readFileSync(file, 'utf8'));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw new ContainerError(`the trace ${file} can't be read: ${code ?? message}`, { exitCode: 1 });
  }
}
