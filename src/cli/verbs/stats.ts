/** tinyctr stats [CONTAINER…]: what containers use, again every second. */

import { setTimeout } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { type Facts, factsOf } from '../../engine/container-facts.ts';
import { findContainer, listContainers } from '../../engine/containers.ts';
import { type Sample, statsRow, takeSample } from '../../engine/stats.ts';
import { formatColumns } from '../../image/present.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

const INTERVAL_MS = 1000;

export function define(program: Command, globals: () => Globals): void {
  program
    .command('stats')
    .description('Show what containers use, until Ctrl-C.')
    .argument('[container...]', 'names, ids or beginnings of ids; all that run if none is said')
    .option('--no-stream', 'once')
    .addOption(new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'))
    .action(async (references: string[], { stream, format }: { stream: boolean; format: 'table' | 'json' }) => {
      const { root, runRoot } = globals();
      requireRoot();
      await cleanup(root, runRoot);
      const chosen = references.map((reference) => findContainer(root, reference).id);
      const look = () => {
        const all = factsOf(runRoot, listContainers(root)).filter(({ cgroup }) => cgroup !== undefined);
        const facts = chosen.length === 0 ? all : all.filter(({ record }) => chosen.includes(record.id));
        return facts.flatMap((one): [Facts, Sample][] => {
          const sample = takeSample(one.cgroup!);
          return sample ? [[one, sample]] : []; // it ends just now
        });
      };
      for (let before = look(); ; ) {
        await setTimeout(INTERVAL_MS);
        const now = look();
        process.stdout.write(print(before, now, format, stream && process.stdout.isTTY));
        if (!stream) return;
        before = now;
      }
    });
}

function print(before: [Facts, Sample][], now: [Facts, Sample][], format: 'table' | 'json', live: boolean): string {
  const samples = new Map(before.map(([{ record }, sample]) => [record.id, sample]));
  const rows = now.map(([facts, sample]) => statsRow(facts.record, samples.get(facts.record.id) ?? sample, sample));
  if (format === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const heads = ['CONTAINER ID', 'NAME', 'CPU %', 'MEM USAGE / LIMIT', 'BLOCK I/O', 'PIDS'];
  const lines = rows.map(({ ID, Name, CPUPerc, MemUsage, BlockIO, PIDs }) => [
    ID,
    Name,
    CPUPerc,
    MemUsage,
    BlockIO,
    PIDs,
  ]);
  const clear = live ? '\x1b[H\x1b[2J' : '';
  return clear + formatColumns([heads, ...lines]);
}
