/** tinyctr stats [CONTAINER…]: what containers use, again every second. */

import { setTimeout } from 'node:timers/promises';
import type { Command } from 'commander';
import { cleanup } from '../../engine/cleanup.ts';
import { type Facts, factsOf } from '../../engine/container-facts.ts';
import { findContainer, listContainers, readRecord } from '../../engine/containers.ts';
import { type Sample, type StatsRow, statsRow, takeSample, uncounted } from '../../engine/stats.ts';
import { formatColumns } from '../../image/present.ts';
import { formatOption } from '../format.ts';
import type { Globals } from '../globals.ts';
import { requireRoot } from '../require.ts';

const INTERVAL_MS = 1000;

interface Options {
  all?: true;
  stream: boolean;
  trunc: boolean;
  format: string;
}

/** One container as it is just now; without a sample it does not run. */
interface Look {
  asked: string;
  facts: Facts;
  sample: Sample | undefined;
}

export function define(program: Command, globals: () => Globals): void {
  program
    .command('stats')
    .description('Show what containers use, again every second, until those that were named have ended, or Ctrl-C.')
    .argument('[container...]', 'names, ids or beginnings of ids; all that run if none is said')
    .option('-a, --all', 'also those that do not run')
    .option('--no-stream', 'once')
    .option('--no-trunc', 'whole ids')
    .addOption(formatOption('tinyctr stats --no-stream', 'lines'))
    .action(async (references: string[], options: Options) => {
      requireRoot();
      await cleanup(globals().root, globals().runRoot);
      await show(looker(globals(), references, options.all === true), references.length > 0, options);
    });
}

/** Named ones stay in the list when they have ended, until they are removed. */
function looker({ root, runRoot }: Globals, references: readonly string[], all: boolean): () => Look[] {
  const named = references.map((asked) => ({ asked, id: findContainer(root, asked).id }));
  const looked = (asked: string, facts: Facts): Look => ({ asked, facts, sample: takeSample(facts) });
  if (named.length > 0)
    return () =>
      named.flatMap(({ asked, id }) => {
        const record = readRecord(root, id);
        return record ? [looked(asked, factsOf(root, runRoot, [record])[0]!)] : [];
      });
  return () =>
    factsOf(root, runRoot, listContainers(root))
      .map((facts) => looked(facts.record.id.slice(0, 12), facts))
      .filter(({ sample }) => all || sample !== undefined);
}

async function show(look: () => Look[], areNamed: boolean, options: Options): Promise<void> {
  const isScreen = options.stream && options.format !== 'json' && process.stdout.isTTY;
  let isTold = options.format === 'json';
  for (let before = look(); ; ) {
    await setTimeout(INTERVAL_MS);
    const now = look();
    const words = note(now);
    const text = print(before, now, options);
    if (isScreen) process.stdout.write(`\x1b[H\x1b[2J${text}${words}`);
    else process.stdout.write(text);
    if (!isScreen && !isTold) process.stderr.write(words);
    isTold ||= words !== '';
    if (!options.stream || (areNamed && now.every(({ sample }) => sample === undefined))) return;
    before = now;
  }
}

function note(looks: readonly Look[]): string {
  const missing = uncounted(looks.flatMap(({ sample }) => sample ?? []));
  if (missing.length === 0) return '';
  return `tinyctr: -- is what nobody counts: no ${missing.join(' and ')} controller of cgroup v2 here (tinyctr doctor)\n`;
}

function print(before: readonly Look[], now: readonly Look[], { format, trunc }: Options): string {
  const samples = new Map(before.map(({ facts, sample }) => [facts.record.id, sample]));
  const rows = now.map(({ asked, facts, sample }) => {
    const row = statsRow(asked, facts, samples.get(facts.record.id), sample);
    return trunc ? { ...row, ID: row.ID.slice(0, 12) } : row;
  });
  if (format === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const columns: Record<string, keyof StatsRow> = {
    'CONTAINER ID': 'ID',
    NAME: 'Name',
    'CPU %': 'CPUPerc',
    'MEM USAGE / LIMIT': 'MemUsage',
    'MEM %': 'MemPerc',
    'NET I/O': 'NetIO',
    'BLOCK I/O': 'BlockIO',
    PIDS: 'PIDs',
  };
  return formatColumns([Object.keys(columns), ...rows.map((row) => Object.values(columns).map((key) => row[key]))]);
}
