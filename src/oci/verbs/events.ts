/** tinyctr-oci events [--stats] [--interval 5s] ID */
import type { Command } from 'commander';
import { UsageError } from '../../engine/usage-error.ts';
import { followEvents, printStats } from '../events.ts';
import type { Globals } from '../globals.ts';

const unitsMs: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** 5s, 1m30s, 100ms, as Go writes durations; at least a millisecond. */
function milliseconds(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)];
  const ms = parts.reduce((sum, [, number, unit]) => sum + Number(number) * unitsMs[unit!]!, 0);
  if (parts.map(([part]) => part).join('') === text && ms >= 1 && ms < 2 ** 31) return ms;
  throw new UsageError(`--interval '${text}' is not a duration such as 5s, 1m30s or 100ms`);
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('events')
    .description('Print what a container uses, and when the kernel kills for memory, as lines of JSON, until it ends.')
    .argument('<container-id>')
    .option('--interval <duration>', 'between two statistics', milliseconds, 5000)
    .option('--stats', 'print the statistics once')
    .action((id: string, options: { interval: number; stats?: boolean }) => {
      const { root } = globals();
      return options.stats ? printStats(root, id) : followEvents(root, id, options.interval);
    });
}
