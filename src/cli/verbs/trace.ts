/** tinyctr trace show FILE */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { ContainerError } from '../../core/kernel/error.ts';
import { formatTrace, parseTrace } from '../../workshop/trace-format.ts';

export function define(program: Command): void {
  program
    .command('trace')
    .description('Show what --trace=FILE has written.')
    .command('show')
    .description('Print a trace as a table.')
    .argument('<file>', 'of run --trace=FILE')
    .action((file: string) => {
      process.stdout.write(formatTrace(read(file)));
    });
}

function read(file: string): ReturnType<typeof parseTrace> {
  try {
    return parseTrace(readFileSync(file, 'utf8'));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw new ContainerError(`the trace ${file} can't be read: ${code ?? message}`, { exitCode: 1 });
  }
}
